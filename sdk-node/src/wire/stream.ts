// A link that may break without loss or reorder: numbered batches, credit, replay.
//
// A batch stays with its sender until the other end has *taken* it, and at most a window of bytes may be
// untaken. So one acknowledgement does three jobs: it gives back credit, it frees the replay copy, and
// after a cut it says where to go on. The twin of the service's `wire/moorage/stream.py`.

import { encodeFrame } from "./encode.js";
import { MoorageError } from "./errors.js";
import type { FromApp } from "./frames.js";
import { badFrame } from "./reader.js";
import { Writer } from "./writer.js";

/** Frames are gathered up to this much; only a frame that is larger by itself makes a larger batch. */
export const BATCH_BYTES = 256 * 1024;
/** A frame up to this far below the other end's largest message fits into it with a batch's head. */
const HEAD_BYTES = 32;

/** What the other end allows (its hello), and what this one does. All in bytes. */
export interface Limits {
  readonly window: number;
  readonly maxBatch: number;
  /** What may wait in no batch yet, so that a slow service does not fill our memory. */
  readonly maxQueue: number;
}

/** Finished frames that are to leave together. */
interface Chunk {
  readonly count: number;
  readonly bytes: Buffer;
}

/** The sending half. `queue` frames, `take` batches. */
export class Outgoing {
  /** Bytes sent and not taken. */
  inFlight = 0;
  /** The number of the newest batch. */
  last = 0;
  #limits: Limits;
  #taken = 0;
  readonly #kept = new Map<number, Buffer>();
  // Frames are encoded one behind the other as they come, and copied out once, when their batch is made.
  readonly #open = new Writer();
  #openCount = 0;
  // What did not fit into the open one any more; only filled while credit or the link is missing.
  readonly #full: Chunk[] = [];
  #fullBytes = 0;
  readonly #head = new Writer();

  constructor(limits: Limits) {
    this.#limits = limits;
  }

  /** After a resume: the other end may have other limits now. */
  set limits(limits: Limits) {
    this.#limits = limits;
  }

  /** Bytes queued and in no batch yet. */
  get waiting(): number {
    return this.#fullBytes + this.#open.size;
  }

  /** The credit is used up. */
  get blocked(): boolean {
    return this.inFlight >= this.#limits.window;
  }

  /** What waits already would leave at once, and more. */
  get hasCredit(): boolean {
    return this.inFlight + this.waiting < this.#limits.window;
  }

  /** At the end, in no batch yet. Raises `MoorageError` and queues nothing: link-frame-too-large for what
   * the other end would not read, link-overflow where too much waits already. `RangeError`: a number that is none of the dialect's. */
  queue(frame: FromApp): void {
    const open = this.#open;
    const before = open.size;
    try {
      encodeFrame(open, frame);
    } catch (error) {
      // Half a frame would spoil what comes behind it, and with that the session.
      open.truncate(before);
      throw error;
    }
    this.#check(before, open.size - before);
    if (before > 0 && open.size > BATCH_BYTES) {
      this.#full.push({ count: this.#openCount, bytes: copied(open, before) });
      this.#fullBytes += before;
      open.dropFirst(before);
      this.#openCount = 0;
    }
    this.#openCount += 1;
  }

  #check(before: number, size: number): void {
    const { maxBatch, maxQueue } = this.#limits;
    if (size <= maxBatch - HEAD_BYTES && this.#fullBytes + before + size <= maxQueue) return;
    this.#open.truncate(before);
    if (size > maxBatch - HEAD_BYTES) throw tooLarge(size, maxBatch);
    throw overflow(this.waiting, maxQueue);
  }

  /** The next batch, if something waits and there is credit. It may overshoot the window by itself: a
   * frame larger than the window would never leave otherwise. */
  take(ack: number): Buffer | undefined {
    if (this.blocked || (this.#openCount === 0 && this.#full.length === 0)) return undefined;
    this.last += 1;
    const full = this.#full.shift();
    const batch = full === undefined ? this.#takeOpen(ack) : this.#takeFull(ack, full);
    this.#kept.set(this.last, batch);
    this.inFlight += batch.length;
    return batch;
  }

  #takeOpen(ack: number): Buffer {
    const head = this.#makeHead(ack, this.#openCount);
    const size = this.#open.size;
    const batch = Buffer.allocUnsafe(head + size);
    this.#head.copyTo(batch, 0, 0, head);
    this.#open.copyTo(batch, head, 0, size);
    this.#open.reset();
    this.#openCount = 0;
    return batch;
  }

  #takeFull(ack: number, { count, bytes }: Chunk): Buffer {
    const head = this.#makeHead(ack, count);
    const batch = Buffer.allocUnsafe(head + bytes.length);
    this.#head.copyTo(batch, 0, 0, head);
    bytes.copy(batch, head);
    this.#fullBytes -= bytes.length;
    return batch;
  }

  #makeHead(ack: number, count: number): number {
    const head = this.#head;
    head.reset();
    head.array(3);
    head.uint(this.last);
    head.uint(ack);
    head.array(count);
    return head.size;
  }

  /** The other end has taken all up to `ack`. An old value is no news: a replayed batch carries what was
   * true when it was made. Raises `MoorageError` (link-bad-frame) for a number that was never sent. */
  taken(ack: number): void {
    if (ack > this.last) throw badFrame(`ack ${ack} of ${this.last}`);
    while (this.#taken < ack) {
      this.#taken += 1;
      this.inFlight -= this.#kept.get(this.#taken)?.length ?? 0;
      this.#kept.delete(this.#taken);
    }
  }

  /** After a cut: the other end has `received` all up to there; the batches to send again. Raises
   * `MoorageError` (link-bad-frame) where that cannot be true. */
  resume(received: number): Buffer[] {
    if (received < this.#taken) throw badFrame(`received ${received}, but took ${this.#taken} before`);
    this.taken(received);
    return [...this.#kept.values()];
  }
}

/** Frames that an app server acknowledges at once: clients that send very much at once wait for it. */
const ACK_FRAMES = 64;

/** The receiving half. */
export class Incoming {
  /** The highest number that came. */
  received = 0;
  /** The highest number taken: what the next batch to the other end shall carry. */
  ack = 0;
  readonly #window: number;
  #acked = 0;
  #untaken = 0;
  #untold = 0;
  /** Frames that came since the last acknowledgement. */
  #frames = 0;

  /** `window`: bytes that this end takes untaken. */
  constructor(window: number) {
    this.#window = window;
  }

  /** A numbered batch of `size` bytes came; false for one that was here before. With `frames`, their number, many
   * small ones are acknowledged at once. Raises `MoorageError` (link-bad-frame) for a gap: a WebSocket loses nothing,
   * so the other end has lost count. */
  arrived(number: number, size: number, frames = 0): boolean {
    if (number <= this.received) return false;
    if (number !== this.received + 1) throw badFrame(`batch ${number} after ${this.received}`);
    this.received = number;
    this.#untaken += size;
    this.#frames += frames;
    return true;
  }

  /** All that came is taken. */
  takeAll(): void {
    this.ack = this.received;
    // Apart from what came: an ack sent in between must not make this look acknowledged.
    this.#untold += this.#untaken;
    this.#untaken = 0;
  }

  /** Something was taken that the other end does not know of. */
  get hasNews(): boolean {
    return this.ack !== this.#acked;
  }

  /** So much that it should be told at once: a quarter of the window, or many frames. */
  get isDue(): boolean {
    return this.hasNews && (this.#untold * 4 >= this.#window || this.#frames >= ACK_FRAMES);
  }

  /** The ack, on its way to the other end. */
  told(): number {
    if (this.ack !== this.#acked) {
      this.#acked = this.ack;
      this.#untold = 0;
      this.#frames = 0;
    }
    return this.ack;
  }
}

/** A batch outside the numbering: `frame` is a hello, or there is none and only `ack` is told. */
export function unnumbered(ack: number, frame?: FromApp): Buffer {
  const out = new Writer();
  out.array(3);
  out.uint(0);
  out.uint(ack);
  out.array(frame ? 1 : 0);
  if (frame) encodeFrame(out, frame);
  return copied(out, out.size);
}

function copied(from: Writer, size: number): Buffer {
  const bytes = Buffer.allocUnsafe(size);
  from.copyTo(bytes, 0, 0, size);
  return bytes;
}

function tooLarge(size: number, maxBatch: number): MoorageError {
  const text = `The message takes ${size} bytes; the service reads at most ${maxBatch} (its setting links.max_frame).`;
  return new MoorageError("link-frame-too-large", text, { number: 4003 });
}

function overflow(waiting: number, maxQueue: number): MoorageError {
  const text =
    `${waiting} bytes wait for the service already, of ${maxQueue} allowed (maxQueueBytes): ` +
    "the link is down, or the service takes less than is sent. Send less, or wait.";
  return new MoorageError("link-overflow", text, { number: 1108 });
}
