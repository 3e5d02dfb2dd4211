// The rows of `Sockets`: ten thousand in one answer, and few of them ever looked into. So they stay the bytes that
// they came as; only their shape is checked when the batch is read, and where each begins is noted.
//
// Decoded at once they were the greater part of what a fetch of 10,000 sockets cost the app server that asked: the
// time of decoding, and again of copying all those strings whenever V8 collects young objects.

import type { Row, Rows } from "./frames.js";
import { badFrame, Reader } from "./reader.js";

const FIELDS = 7;
/** The place of the field that a row may lack. */
const SHARED = 7;
/** A head and a byte for each field. */
const SMALLEST = 1 + FIELDS;

/** One row. What is read of it raises `MoorageError` (link-bad-frame) for text that is no UTF-8. */
class LazyRow implements Row {
  readonly #bytes: Buffer;
  readonly #at: number;

  constructor(bytes: Buffer, at: number) {
    this.#bytes = bytes;
    this.#at = at;
  }

  get id(): string {
    return this.#after(0).str();
  }

  get connection(): string {
    return this.#after(1).str();
  }

  get user(): string | null {
    return this.#after(2).strOrNil();
  }

  get server(): number {
    return this.#after(3).uint();
  }

  get opened(): number {
    return this.#after(4).uint();
  }

  get rooms(): readonly string[] {
    return this.#after(5).strs();
  }

  get handshake(): string {
    return this.#after(6).bin();
  }

  get shared(): number {
    const from = new Reader(this.#bytes, this.#at);
    if (from.array() <= SHARED) return 0;
    from.skip(SHARED);
    return from.uint();
  }

  #after(elements: number): Reader {
    const from = new Reader(this.#bytes, this.#at);
    from.array();
    from.skip(elements);
    return from;
  }
}

class LazyRows implements Rows {
  readonly #bytes: Buffer;
  /** Where each begins. */
  readonly #starts: Uint32Array;

  constructor(bytes: Buffer, starts: Uint32Array) {
    this.#bytes = bytes;
    this.#starts = starts;
  }

  get length(): number {
    return this.#starts.length;
  }

  at(index: number): Row | undefined {
    const start = this.#starts[index];
    return start === undefined ? undefined : new LazyRow(this.#bytes, start);
  }

  *[Symbol.iterator](): Iterator<Row> {
    for (const start of this.#starts) yield new LazyRow(this.#bytes, start);
  }
}

/** The rows that come next, each of one of so many `servers`. Rows may grow at their end as frames do. Raises
 * `MoorageError` (link-bad-frame). */
export function rowsOf(from: Reader, servers: number): Rows {
  const length = from.array();
  if (length * SMALLEST > from.left) throw badFrame("it ends too early");
  const starts = new Uint32Array(length);
  for (let row = 0; row < length; row += 1) {
    starts[row] = from.at;
    const fields = from.array();
    if (fields < FIELDS) throw badFrame(`a row has ${FIELDS} elements, not ${fields}`);
    from.passStr();
    from.passStr();
    from.passStrOrNil();
    if (from.uint() >= servers) throw badFrame("a row of a server that is not listed");
    from.uint();
    for (let left = from.array(); left > 0; left -= 1) from.passStr();
    from.passBin();
    if (fields > SHARED) from.uint();
    from.skip(fields - Math.min(fields, SHARED + 1));
  }
  return new LazyRows(from.bytes, starts);
}
