// The rows of `Sockets`: ten thousand in one answer, and few of them ever looked into. So they stay the bytes that
// they came as; only their shape is checked, and the id read, when the batch is.
//
// Decoded at once they were the greater part of what a fetch of 10,000 sockets cost the app server that asked: the
// time of decoding, and again of copying all those strings whenever V8 collects young objects.

import type { Row } from "./frames.js";
import { Reader } from "./reader.js";

/** One row. What is read of it later raises `MoorageError` (link-bad-frame) for text that is no UTF-8. */
export class LazyRow implements Row {
  readonly #bytes: Buffer;
  /** Of the element after the id. */
  readonly #at: number;

  constructor(
    readonly id: string,
    readonly server: number,
    bytes: Buffer,
    at: number,
  ) {
    this.#bytes = bytes;
    this.#at = at;
  }

  get connection(): string {
    return this.#after(0).str();
  }

  get user(): string | null {
    return this.#after(1).strOrNil();
  }

  get opened(): number {
    return this.#after(3).uint();
  }

  get rooms(): readonly string[] {
    return this.#after(4).strs();
  }

  get handshake(): string {
    return this.#after(5).bin();
  }

  #after(elements: number): Reader {
    const from = new Reader(this.#bytes, this.#at);
    from.skip(elements);
    return from;
  }
}

/** The next row, of at least seven elements. Raises `MoorageError` (link-bad-frame). */
export function row(from: Reader): LazyRow {
  const id = from.str();
  const at = from.at;
  from.passStr();
  from.passStrOrNil();
  const server = from.uint();
  from.uint();
  for (let left = from.array(); left > 0; left -= 1) from.passStr();
  from.passBin();
  return new LazyRow(id, server, from.bytes, at);
}
