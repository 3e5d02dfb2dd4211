// The rows of `Sockets`. One answer may contain ten thousand rows, and apps look at few, so rows stay encoded.
// Reading a batch only checks their structure and records where each one begins.
//
// Decoding all rows at once was the greater part of the cost of fetching 10,000 sockets: the time to decode, and the
// time to copy all the strings whenever V8 collects young objects.

import type { Row, Rows } from "./frames.js";
import { badFrame, Reader } from "./reader.js";

const FIELDS = 7;
/** The index of the optional field. */
const SHARED = 7;
/** Bytes of the smallest row: its head and one byte for each field. */
const MIN_ROW_BYTES = 1 + FIELDS;

/** One row. Its getters raise `MoorageError` (link-bad-frame) for text that is not UTF-8. */
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
  /** Where each row begins. */
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

/** Reads the rows that come next; each belongs to one of `servers` app servers. Later revisions append elements to
 * rows. Raises `MoorageError` (link-bad-frame). */
export function rowsOf(from: Reader, servers: number): Rows {
  const length = from.array();
  if (length * MIN_ROW_BYTES > from.left) throw badFrame("truncated");
  const starts = new Uint32Array(length);
  for (let row = 0; row < length; row += 1) {
    starts[row] = from.at;
    const fields = from.array();
    if (fields < FIELDS) throw badFrame(`a row with ${fields} elements instead of ${FIELDS}`);
    from.skipStr();
    from.skipStr();
    from.skipStrOrNil();
    if (from.uint() >= servers) throw badFrame("a row of an unlisted server");
    from.uint();
    for (let left = from.array(); left > 0; left -= 1) from.skipStr();
    from.skipBin();
    if (fields > SHARED) from.uint();
    from.skip(fields - Math.min(fields, SHARED + 1));
  }
  return new LazyRows(from.bytes, starts);
}
