// A MessagePack reader with the types that frames need, for untrusted bytes.
//
// Every read checks the end of the buffer and the type of the value. Nothing is allocated for a length before its
// bytes are there.

import { isUtf8 } from "node:buffer";

import { MoorageError } from "./errors.js";

/** Replaces invalid UTF-8 when text is decoded. Valid text may contain it too. */
const REPLACEMENT = "\ufffd";
const LINK_BAD_FRAME = 4002;

export function badFrame(what: string): MoorageError {
  return new MoorageError("link-bad-frame", `invalid link frame: ${what}`, { number: LINK_BAD_FRAME });
}

/** All methods raise `MoorageError` (link-bad-frame) for a value of another type. */
export class Reader {
  readonly #bytes: Buffer;
  readonly #end: number;
  #at: number;

  constructor(bytes: Buffer, at = 0) {
    this.#bytes = bytes;
    this.#end = bytes.length;
    this.#at = at;
  }

  get bytes(): Buffer {
    return this.#bytes;
  }

  /** Offset of the next value. */
  get at(): number {
    return this.#at;
  }

  /** Number of unread bytes. */
  get left(): number {
    return this.#end - this.#at;
  }

  get atEnd(): boolean {
    return this.#at === this.#end;
  }

  /** A whole number from 0 to 2^53 - 1. */
  uint(): number {
    const mark = this.#next();
    if (mark < 0x80) return mark;
    switch (mark) {
      case 0xcc:
        return this.#next();
      case 0xcd:
        return this.#uint16();
      case 0xce:
        return this.#uint32();
      case 0xcf:
        return this.#uint64();
      // Signed forms of non-negative numbers: a writer should not use them, but may.
      case 0xd0:
        return positive(this.#bytes.readInt8(this.#take(1)));
      case 0xd1:
        return positive(this.#bytes.readInt16BE(this.#take(2)));
      case 0xd2:
        return positive(this.#bytes.readInt32BE(this.#take(4)));
      case 0xd3:
        return positive(this.#uint64());
      default:
        throw badFrame(`0x${mark.toString(16)} instead of a non-negative number`);
    }
  }

  /** A number that may have a fraction. */
  float(): number {
    const mark = this.#peek();
    if (mark !== 0xca && mark !== 0xcb) return this.uint();
    this.#at += 1;
    return mark === 0xca ? this.#bytes.readFloatBE(this.#take(4)) : this.#bytes.readDoubleBE(this.#take(8));
  }

  bool(): boolean {
    const mark = this.#next();
    if (mark !== 0xc2 && mark !== 0xc3) throw badFrame("not a boolean");
    return mark === 0xc3;
  }

  str(): string {
    const mark = this.#next();
    if (mark >= 0xa0 && mark < 0xc0) return this.#strict(mark & 0x1f);
    if (mark === 0xd9) return this.#strict(this.#next());
    if (mark === 0xda) return this.#strict(this.#uint16());
    if (mark === 0xdb) return this.#strict(this.#uint32());
    throw badFrame("not a string");
  }

  strOrNil(): string | null {
    if (this.#peek() !== 0xc0) return this.str();
    this.#at += 1;
    return null;
  }

  /** A bin, decoded as text. Invalid UTF-8 becomes U+FFFD: payloads come from clients, and invalid ones should fail in
   * Socket.IO's parser without harm to the link. */
  bin(): string {
    const mark = this.#next();
    if (mark === 0xc4) return this.#text(this.#next());
    if (mark === 0xc5) return this.#text(this.#uint16());
    if (mark === 0xc6) return this.#text(this.#uint32());
    throw badFrame("not a bin");
  }

  strs(): string[] {
    const values: string[] = [];
    for (let left = this.array(); left > 0; left -= 1) values.push(this.str());
    return values;
  }

  /** Skips a value that `str` would read; does not check for UTF-8. */
  skipStr(): void {
    const mark = this.#peek();
    if (mark < 0xa0 || (mark > 0xbf && mark < 0xd9) || mark > 0xdb) throw badFrame("not a string");
    this.#skipHead();
  }

  /** Skips a value that `strOrNil` would read. */
  skipStrOrNil(): void {
    if (this.#peek() === 0xc0) this.#at += 1;
    else this.skipStr();
  }

  /** Skips a value that `bin` would read. */
  skipBin(): void {
    const mark = this.#peek();
    if (mark < 0xc4 || mark > 0xc6) throw badFrame("not a bin");
    this.#skipHead();
  }

  /** The length of an array, whose elements come next. */
  array(): number {
    const mark = this.#next();
    if (mark >= 0x90 && mark < 0xa0) return mark & 0x0f;
    if (mark === 0xdc) return this.#uint16();
    if (mark === 0xdd) return this.#uint32();
    throw badFrame("not an array");
  }

  /** Skips `count` values of any type. It uses a counter instead of recursion, so the depth of nesting does not
   * matter. */
  skip(count: number): void {
    for (let left = count; left > 0; left -= 1) left += this.#skipHead();
  }

  /** Skips one value without its elements, and returns how many elements it contains. */
  #skipHead(): number {
    const mark = this.#next();
    if (mark < 0x80 || mark >= 0xe0) return 0;
    if (mark < 0x90) return (mark & 0x0f) * 2;
    if (mark < 0xa0) return mark & 0x0f;
    if (mark < 0xc0) return this.#skipBytes(mark & 0x1f);
    switch (mark) {
      case 0xc0:
      case 0xc2:
      case 0xc3:
        return 0;
      case 0xc4:
      case 0xd9:
        return this.#skipBytes(this.#next());
      case 0xc5:
      case 0xda:
        return this.#skipBytes(this.#uint16());
      case 0xc6:
      case 0xdb:
        return this.#skipBytes(this.#uint32());
      case 0xc7:
        return this.#skipBytes(this.#next() + 1);
      case 0xc8:
        return this.#skipBytes(this.#uint16() + 1);
      case 0xc9:
        return this.#skipBytes(this.#uint32() + 1);
      case 0xdc:
        return this.#uint16();
      case 0xdd:
        return this.#uint32();
      case 0xde:
        return this.#uint16() * 2;
      case 0xdf:
        return this.#uint32() * 2;
      default:
        return this.#skipBytes(fixedSize(mark));
    }
  }

  #skipBytes(size: number): 0 {
    this.#take(size);
    return 0;
  }

  #strict(size: number): string {
    const start = this.#at;
    const text = this.#text(size);
    if (text.includes(REPLACEMENT) && !isUtf8(this.#bytes.subarray(start, this.#at))) throw badFrame("text is not UTF-8");
    return text;
  }

  #text(size: number): string {
    const start = this.#take(size);
    return this.#bytes.toString("utf8", start, this.#at);
  }

  #peek(): number {
    if (this.#at >= this.#end) throw badFrame("truncated");
    return this.#bytes[this.#at] as number;
  }

  #next(): number {
    if (this.#at >= this.#end) throw badFrame("truncated");
    return this.#bytes[this.#at++] as number;
  }

  /** Consumes `size` bytes and returns the offset of the first. */
  #take(size: number): number {
    const start = this.#at;
    if (size > this.#end - start) throw badFrame("truncated");
    this.#at = start + size;
    return start;
  }

  #uint16(): number {
    return this.#bytes.readUInt16BE(this.#take(2));
  }

  #uint32(): number {
    return this.#bytes.readUInt32BE(this.#take(4));
  }

  #uint64(): number {
    const high = this.#uint32();
    const value = high * 0x100000000 + this.#uint32();
    if (!Number.isSafeInteger(value)) throw badFrame("a number beyond 2^53 - 1");
    return value;
  }
}

function positive(value: number): number {
  if (value < 0) throw badFrame("a negative number");
  return value;
}

/** Number of bytes after the mark, for numbers and for extensions of fixed size. */
function fixedSize(mark: number): number {
  const size = FIXED.get(mark);
  if (size === undefined) throw badFrame(`0x${mark.toString(16)} is not MessagePack`);
  return size;
}

const FIXED = new Map([
  [0xca, 4],
  [0xcb, 8],
  [0xcc, 1],
  [0xcd, 2],
  [0xce, 4],
  [0xcf, 8],
  [0xd0, 1],
  [0xd1, 2],
  [0xd2, 4],
  [0xd3, 8],
  [0xd4, 2],
  [0xd5, 3],
  [0xd6, 5],
  [0xd7, 9],
  [0xd8, 17],
]);
