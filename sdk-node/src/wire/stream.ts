// A stream of numbered batches with credit and replay: a link may break without loss or reordering.
//
// A batch stays with its sender until the other side has *taken* it, and at most a window of bytes may be
// unacknowledged. So one acknowledgement does three things: it gives back credit, it frees the copy for replay, and
// after a cut it tells where to continue. The counterpart of the service's `wire/moorage/stream.py`.

import { encodeFrame } from "./encode.js";
import { MoorageError } from "./errors.js";
import { Type, type FromApp } from "./frames.js";
import { badFrame, Reader } from "./reader.js";
import { Writer } from "./writer.js";

/** Target size of a batch. Only a frame that is larger by itself makes a larger batch. */
const BATCH_BYTES = 256 * 1024;
/** Upper bound of a batch's header, in bytes. A frame must leave this much of the other side's largest message. */
const HEAD_BYTES = 32;

/** The limits of the other side (from its hello) and of this one, in bytes. */
export interface Limits {
  readonly window: number;
  readonly maxBatch: number;
  /** Limit of the frames that wait in no batch yet, so that a slow service does not fill this process' memory. */
  readonly maxQueue: number;
}

/** Encoded frames that will leave in one batch. */
interface Chunk {
  readonly count: number;
  readonly bytes: Buffer;
}

/** A frame that the other side has not taken, as far as is known: the one at `place` of a batch. Frames that have not
 * been sent count as those of the next batch. */
export interface Untaken {
  readonly batch: number;
  readonly place: number;
  readonly bytes: Buffer;
  readonly type: number;
  readonly ref: number;
}

/** The sending half: `queue` frames, `take` batches. */
export class Outgoing {
  /** Bytes sent and not acknowledged. */
  inFlight = 0;
  /** The number of the newest batch. */
  last = 0;
  #limits: Limits;
  #taken = 0;
  readonly #kept = new Map<number, Buffer>();
  // Frames are encoded one behind the other, and copied once, when their batch is made.
  readonly #open = new Writer();
  #openCount = 0;
  // Chunks that are complete; used only while credit or the link is missing.
  readonly #chunks: Chunk[] = [];
  #chunkBytes = 0;
  readonly #head = new Writer();

  constructor(limits: Limits) {
    this.#limits = limits;
  }

  /** Set after a resume: the other side may have other limits now. */
  set limits(limits: Limits) {
    this.#limits = limits;
  }

  /** Bytes queued and in no batch yet. */
  get waiting(): number {
    return this.#chunkBytes + this.#open.size;
  }

  /** True if the credit is used up. */
  get blocked(): boolean {
    return this.inFlight >= this.#limits.window;
  }

  /** True if all waiting frames could leave at once, and one more. */
  get hasCredit(): boolean {
    return this.inFlight + this.waiting < this.#limits.window;
  }

  /** Appends a frame. Raises `MoorageError` and queues nothing: link-frame-too-large if the other side would not
   * accept it, link-overflow if too much waits already. Raises `RangeError` for a number that the dialect does not
   * allow. */
  queue(frame: FromApp): void {
    const open = this.#open;
    const before = open.size;
    try {
      encodeFrame(open, frame);
    } catch (error) {
      // Half a frame would spoil the frames behind it, and so the session.
      open.truncate(before);
      throw error;
    }
    this.#check(before, open.size - before);
    if (before > 0 && open.size > BATCH_BYTES) {
      this.#chunks.push({ count: this.#openCount, bytes: copied(open, before) });
      this.#chunkBytes += before;
      open.dropFirst(before);
      this.#openCount = 0;
    }
    this.#openCount += 1;
  }

  #check(before: number, size: number): void {
    const { maxBatch, maxQueue } = this.#limits;
    if (size <= maxBatch - HEAD_BYTES && this.#chunkBytes + before + size <= maxQueue) return;
    this.#open.truncate(before);
    if (size > maxBatch - HEAD_BYTES) throw tooLarge(size, maxBatch);
    throw overflow(this.waiting, maxQueue);
  }

  /** Returns the next batch if frames wait and there is credit. A batch may overshoot the window: a frame larger than
   * the window could never leave otherwise. */
  take(ack: number): Buffer | undefined {
    if (this.blocked || (this.#openCount === 0 && this.#chunks.length === 0)) return undefined;
    this.last += 1;
    const chunk = this.#chunks.shift();
    const batch = chunk === undefined ? this.#takeOpen(ack) : this.#takeChunk(ack, chunk);
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

  #takeChunk(ack: number, { count, bytes }: Chunk): Buffer {
    const head = this.#makeHead(ack, count);
    const batch = Buffer.allocUnsafe(head + bytes.length);
    this.#head.copyTo(batch, 0, 0, head);
    bytes.copy(batch, head);
    this.#chunkBytes -= bytes.length;
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

  /** The frames that the other side has not taken, in order. */
  *untaken(): Iterable<Untaken> {
    for (const [number, batch] of this.#kept) {
      const reader = new Reader(batch);
      reader.array();
      reader.skip(2);
      yield* split(reader, reader.array(), number);
    }
    const next = this.last + 1;
    for (const { count, bytes } of this.#chunks) yield* split(new Reader(bytes), count, next);
    yield* split(new Reader(copied(this.#open, this.#open.size)), this.#openCount, next);
  }

  /** The other side has taken all batches up to `ack`. An old value is ignored: a replayed batch carries the value
   * from when it was made. Raises `MoorageError` (link-bad-frame) for a number that was never sent. */
  acknowledge(ack: number): void {
    if (ack > this.last) throw badFrame(`ack ${ack}, but only ${this.last} batches were sent`);
    while (this.#taken < ack) {
      this.#taken += 1;
      this.inFlight -= this.#kept.get(this.#taken)?.length ?? 0;
      this.#kept.delete(this.#taken);
    }
  }

  /** Called after a cut: the other side has `received` all batches up to there. Returns the batches to send again.
   * Raises `MoorageError` (link-bad-frame) if that cannot be true. */
  resume(received: number): Buffer[] {
    if (received < this.#taken) throw badFrame(`received ${received}, but acknowledged ${this.#taken} before`);
    this.acknowledge(received);
    return [...this.#kept.values()];
  }
}

/** Frames that begin with something else than a number. */
const WITHOUT_REF = new Set<number>([Type.Drain, Type.Save, Type.Unfinished, Type.Settled]);

function untaken(bytes: Buffer, batch: number, place: number): Untaken {
  const frame = new Reader(bytes);
  frame.array();
  const type = frame.uint();
  if (type === Type.Again) return untaken(bytes.subarray(frame.at), batch, place);
  // All frames with a reference have it here.
  return { bytes, type, ref: WITHOUT_REF.has(type) ? 0 : frame.uint(), batch, place };
}

/** Splits encoded frames. */
function* split(reader: Reader, count: number, batch: number): Iterable<Untaken> {
  for (let place = 0; place < count; place += 1) {
    const start = reader.at;
    reader.skip(1);
    yield untaken(reader.bytes.subarray(start, reader.at), batch, place);
  }
}

/** Number of frames after which an acknowledgement is sent at once: clients that send many packets wait for it. */
const ACK_FRAMES = 64;

/** The receiving half. */
export class Incoming {
  /** The highest batch number received. */
  received = 0;
  /** The highest batch number taken: the next batch to the other side carries it. */
  ack = 0;
  readonly #window: number;
  #acked = 0;
  /** Bytes received and not taken yet. */
  #bytesToTake = 0;
  /** Bytes taken since the last acknowledgement. */
  #unacknowledged = 0;
  /** Frames received since the last acknowledgement. */
  #frames = 0;

  /** `window`: bytes that this side accepts unacknowledged. */
  constructor(window: number) {
    this.#window = window;
  }

  /** Records a numbered batch of `size` bytes; returns false for one that arrived before. `frames`, its number of
   * frames, makes many small ones be acknowledged at once. Raises `MoorageError` (link-bad-frame) for a gap: a
   * WebSocket loses nothing, so the other side has lost count. */
  arrived(number: number, size: number, frames = 0): boolean {
    if (number <= this.received) return false;
    if (number !== this.received + 1) throw badFrame(`batch ${number} after ${this.received}`);
    this.received = number;
    this.#bytesToTake += size;
    this.#frames += frames;
    return true;
  }

  /** All batches received have been taken. */
  takeAll(): void {
    this.ack = this.received;
    // Counted separately: an acknowledgement sent in between must not cover these bytes.
    this.#unacknowledged += this.#bytesToTake;
    this.#bytesToTake = 0;
  }

  /** True if the other side has not been told about the newest taken batch. */
  get hasUnsentAck(): boolean {
    return this.ack !== this.#acked;
  }

  /** True if an acknowledgement should be sent at once: after a quarter of the window, or many frames. */
  get isDue(): boolean {
    return this.hasUnsentAck && (this.#unacknowledged * 4 >= this.#window || this.#frames >= ACK_FRAMES);
  }

  /** Returns the acknowledgement, which the caller sends. */
  takeAck(): number {
    if (this.ack !== this.#acked) {
      this.#acked = this.ack;
      this.#unacknowledged = 0;
      this.#frames = 0;
    }
    return this.ack;
  }
}

/** A batch outside the numbering: a hello (`frame`), or only an acknowledgement. */
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
  const text = `The message has ${size} bytes; the service accepts at most ${maxBatch} (its setting links.max_frame).`;
  return new MoorageError("link-frame-too-large", text, { number: 4003 });
}

function overflow(waiting: number, maxQueue: number): MoorageError {
  const text =
    `The queue is full: ${waiting} of ${maxQueue} bytes (maxQueueBytes) wait for the service. ` +
    "The link is down, or the service is slower than the app server. Send less, or wait.";
  return new MoorageError("link-overflow", text, { number: 1108 });
}
