// A MessagePack writer with the types that frames need, into one growing buffer.
//
// Written by hand because the types are fixed; encode.ts has the figures.

/** A larger buffer is released after use, so that one huge frame does not hold its memory for ever. */
const MAX_KEPT_BYTES = 1024 * 1024;
const INITIAL_BYTES = 16 * 1024;
/** UTF-8 takes at most three bytes for each of JavaScript's UTF-16 units. */
const BYTES_PER_UNIT = 3;
/** The longest head of a string, bin or array, in bytes. */
const HEAD_BYTES = 5;
/** Up to this length a loop over the units is faster than a call into C++ (measured: about 12 on Node.js 20). */
const LOOP_UNITS = 12;

const STR = { fix: 0xa0, fixEnd: 32, one: 0xd9 } as const;
const BIN = { fix: 0, fixEnd: 0, one: 0xc4 } as const;
type Kind = typeof STR | typeof BIN;

/** The buffer is reused after `reset`: bytes that are needed longer must be copied out. */
export class Writer {
  #bytes: Buffer = Buffer.allocUnsafeSlow(INITIAL_BYTES);
  #at = 0;

  /** Bytes written. */
  get size(): number {
    return this.#at;
  }

  /** Drops everything after the first `size` bytes. */
  truncate(size: number): void {
    this.#at = size;
  }

  /** Drops everything. */
  reset(): void {
    this.#at = 0;
    if (this.#bytes.length > MAX_KEPT_BYTES) this.#bytes = Buffer.allocUnsafeSlow(INITIAL_BYTES);
  }

  /** Copies the bytes from `start` to `end` into `target`. */
  copyTo(target: Buffer, at: number, start: number, end: number): void {
    this.#bytes.copy(target, at, start, end);
  }

  /** Drops the first `count` bytes; the others move to the front. */
  dropFirst(count: number): void {
    this.#bytes.copyWithin(0, count, this.#at);
    this.#at -= count;
  }

  array(length: number): void {
    this.#reserve(HEAD_BYTES);
    if (length < 16) this.#bytes[this.#at++] = 0x90 | length;
    else if (length < 0x10000) this.#head2(0xdc, length);
    else this.#head4(0xdd, length);
  }

  /** A whole number from 0 to 2^53 - 1. Raises `RangeError` for any other number. */
  uint(value: number): void {
    this.#reserve(9);
    if (value < 0x80 && value >= 0) this.#bytes[this.#at++] = value;
    else if (!(value > 0 && value <= Number.MAX_SAFE_INTEGER)) throw new RangeError(`${value} is not a whole number from 0 to 2^53 - 1`);
    else if (value < 0x100) this.#head1(0xcc, value);
    else if (value < 0x10000) this.#head2(0xcd, value);
    else if (value < 0x100000000) this.#head4(0xce, value);
    else {
      this.#head4(0xcf, Math.floor(value / 0x100000000));
      this.#at = this.#bytes.writeUInt32BE(value % 0x100000000, this.#at);
    }
  }

  float(value: number): void {
    this.#reserve(9);
    this.#bytes[this.#at++] = 0xcb;
    this.#at = this.#bytes.writeDoubleBE(value, this.#at);
  }

  bool(value: boolean): void {
    this.#reserve(1);
    this.#bytes[this.#at++] = value ? 0xc3 : 0xc2;
  }

  str(value: string): void {
    this.#text(value, STR);
  }

  /** The text's UTF-8 as a MessagePack bin. */
  bin(value: string): void {
    this.#text(value, BIN);
  }

  /** A value that is encoded already. */
  raw(bytes: Uint8Array): void {
    this.#reserve(bytes.length);
    this.#bytes.set(bytes, this.#at);
    this.#at += bytes.length;
  }

  strs(values: readonly string[]): void {
    this.array(values.length);
    for (const value of values) this.#text(value, STR);
  }

  /** Nearly all text is ASCII, so the head is written for as many bytes as units, and corrected if that was wrong.
   * This takes one pass over the text, and none to count its bytes first. */
  #text(value: string, kind: Kind): void {
    const units = value.length;
    this.#reserve(HEAD_BYTES + units * BYTES_PER_UNIT);
    const start = this.#at;
    this.#textHead(kind, units);
    const head = this.#at - start;
    const size = this.#utf8(value);
    if (size === units) {
      this.#at += size;
      return;
    }
    const wider = headSize(kind, size) - head;
    // Moved before the head is written, because the new head may be longer.
    if (wider > 0) this.#bytes.copyWithin(start + head + wider, start + head, start + head + size);
    this.#at = start;
    this.#textHead(kind, size);
    this.#at += size;
  }

  /** Writes text at the end and returns its number of bytes; lone surrogates become U+FFFD. */
  #utf8(value: string): number {
    const bytes = this.#bytes;
    const units = value.length;
    if (units > LOOP_UNITS) return bytes.write(value, this.#at, "utf8");
    let at = this.#at;
    for (let i = 0; i < units; i += 1) {
      const unit = value.charCodeAt(i);
      if (unit > 0x7f) return bytes.write(value, this.#at, "utf8");
      bytes[at++] = unit;
    }
    return units;
  }

  #textHead(kind: Kind, size: number): void {
    if (size < kind.fixEnd) this.#bytes[this.#at++] = kind.fix | size;
    else if (size < 0x100) this.#head1(kind.one, size);
    else if (size < 0x10000) this.#head2(kind.one + 1, size);
    else this.#head4(kind.one + 2, size);
  }

  #head1(mark: number, value: number): void {
    this.#bytes[this.#at++] = mark;
    this.#bytes[this.#at++] = value;
  }

  #head2(mark: number, value: number): void {
    this.#bytes[this.#at++] = mark;
    this.#bytes[this.#at++] = value >>> 8;
    this.#bytes[this.#at++] = value & 0xff;
  }

  #head4(mark: number, value: number): void {
    this.#bytes[this.#at++] = mark;
    this.#at = this.#bytes.writeUInt32BE(value, this.#at);
  }

  #reserve(more: number): void {
    const needed = this.#at + more;
    if (needed <= this.#bytes.length) return;
    const grown = Buffer.allocUnsafeSlow(Math.max(needed, this.#bytes.length * 2));
    this.#bytes.copy(grown, 0, 0, this.#at);
    this.#bytes = grown;
  }
}

function headSize(kind: Kind, size: number): number {
  if (size < kind.fixEnd) return 1;
  if (size < 0x100) return 2;
  return size < 0x10000 ? 3 : HEAD_BYTES;
}
