// One session: the state that outlives the WebSockets that carry it. No I/O and no clock.

import { decodeBatch } from "../wire/decode.js";
import { REVISION, Type, type Again, type Counted, type Drain, type FromApp, type FromService, type HandOver, type ServiceHello } from "../wire/frames.js";
import { MoorageError } from "../wire/errors.js";
import { badFrame } from "../wire/reader.js";
import { Incoming, type Limits, Outgoing, unnumbered } from "../wire/stream.js";
import type { Numbered } from "./dispatch.js";
import type { Settings } from "./options.js";

export type ForAll = Exclude<Again["frame"], Uint8Array> | Drain | HandOver;

/** The limits of this side, in bytes. */
interface OwnLimits {
  readonly window: number;
  readonly maxQueue: number;
}

type HelloSettings = Pick<Settings, "sdk" | "window" | "emitOnly" | "recovery" | "quiet" | "traces">;

/** The app server's first message. `session`: the session to resume, if any. */
export function appHello(own: HelloSettings, session: Session | undefined, instance: string): Buffer {
  const { sdk, emitOnly, recovery, quiet, traces } = own;
  return unnumbered(0, {
    type: Type.Hello,
    revision: REVISION,
    sdk,
    session: session?.id ?? "",
    received: session?.incoming.received ?? 0,
    window: own.window,
    emitOnly,
    instance,
    recovery,
    quiet,
    traces,
  });
}

/** Decodes the service's answer to the hello. Raises `MoorageError` (link-bad-frame) for anything else. */
export function serviceHello(bytes: Buffer): ServiceHello {
  const { number, frames } = decodeBatch(bytes);
  const [hello] = frames;
  if (number !== 0 || frames.length !== 1 || hello?.type !== Type.Hello) throw badFrame("the first message must be a hello, and nothing else");
  return hello;
}

export class Session {
  readonly id: string;
  readonly incoming: Incoming;
  readonly outgoing: Outgoing;
  readonly #own: OwnLimits;
  #limits: Limits;

  constructor(hello: ServiceHello, own: OwnLimits) {
    this.id = hello.session;
    this.#own = own;
    this.incoming = new Incoming(own.window);
    this.#limits = limits(hello, own);
    this.outgoing = new Outgoing(this.#limits);
  }

  /** Called on a new WebSocket: returns the batches to send again. Raises `MoorageError` (link-bad-frame). */
  resume(hello: ServiceHello): Buffer[] {
    this.#limits = limits(hello, this.#own);
    this.outgoing.limits = this.#limits;
    return this.outgoing.resume(hello.received);
  }

  /** Decodes a message of the service and passes each new frame to `take`, which must not throw. Raises `MoorageError`
   * (link-bad-frame) before any frame of the message is passed on. */
  receive(bytes: Buffer, take: (frame: Numbered) => void): void {
    const { number, ack, frames } = decodeBatch(bytes);
    this.outgoing.acknowledge(ack);
    if (number === 0) {
      if (frames.length > 0) throw badFrame("frames in a batch without a number");
      return;
    }
    if (!frames.every(isNumbered)) throw badFrame("a hello in a numbered batch");
    if (!this.incoming.arrived(number, bytes.length, frames.length)) return;
    for (const frame of frames) take(frame);
    // The handlers have run to their end, so all frames have been taken.
    this.incoming.takeAll();
  }

  /** Returns the next batch to send; undefined if nothing waits, or without credit. */
  next(): Buffer | undefined {
    const batch = this.outgoing.take(this.incoming.ack);
    if (batch !== undefined) this.incoming.takeAck();
    return batch;
  }

  /** Returns a message that only acknowledges. */
  ack(): Buffer {
    return unnumbered(this.incoming.takeAck());
  }

  /** Like `Outgoing.queue`, but ignores `maxQueue` for frames that open or close a client. socket.io sends these
   * itself, so no caller could catch the error, and there are only a few of them per client. The same holds for
   * frames about the coverage. */
  queue(frame: FromApp): void {
    try {
      this.outgoing.queue(frame);
    } catch (error) {
      if (!isOverflow(error) || !isEssential(frame)) throw error;
      this.queueInAnyCase(frame);
    }
  }

  /** Like `Outgoing.queue`, but ignores `maxQueue`. */
  queueInAnyCase(frame: FromApp): void {
    this.outgoing.limits = { ...this.#limits, maxQueue: Infinity };
    try {
      this.outgoing.queue(frame);
    } finally {
      this.outgoing.limits = this.#limits;
    }
  }

  /** Queues the frame and returns true; returns false without credit, or if the queue is full. */
  queueVolatile(frame: FromApp): boolean {
    if (!this.outgoing.hasCredit) return false;
    try {
      this.outgoing.queue(frame);
    } catch (error) {
      if (isOverflow(error)) return false;
      throw error;
    }
    return true;
  }
}

function isNumbered(frame: FromService): frame is Numbered {
  return frame.type !== Type.Hello;
}

export const isOverflow = (error: unknown): boolean => error instanceof MoorageError && error.reason === "link-overflow";

const ESSENTIAL = new Set<number>([Type.Opened, Type.Refused, Type.Close, Type.Cover, Type.Again, Type.State, Type.Save, Type.Unfinished, Type.Settled]);
/** Socket.IO's CONNECT, DISCONNECT and CONNECT_ERROR in Engine.IO messages. */
const ESSENTIAL_PACKET = /^4[014]/;

function isEssential(frame: FromApp): boolean {
  return frame.type === Type.Packet ? ESSENTIAL_PACKET.test(frame.payload) : ESSENTIAL.has(frame.type);
}

/** Frames about one client, or in answer to a question of the service. They belong to one session. They must not enter
 * the next one, where the same number may mean another client or question. */
const SESSION_FRAMES = new Set<number>([
  Type.Packet,
  Type.Opened,
  Type.Refused,
  Type.Close,
  Type.Enter,
  Type.Exit,
  Type.Facts,
  Type.Reply,
  Type.State,
]);

const COUNTED = new Set<number>([Type.Emit, Type.Ask, Type.Join, Type.Leave, Type.Disconnect, Type.Fetch, Type.Tell]);

/** True for the frames that the app server numbers. */
export const isCounted = (frame: FromApp): frame is FromApp & Counted => frame.type !== Type.Packet && COUNTED.has(frame.type);

/** True for the frames that go to all sessions. */
export const isForAll = (frame: FromApp): frame is ForAll => frame.type === Type.Drain || frame.type === Type.HandOver || mayBeAgain(frame.type);

/** True for the types of frames that a home forwards for another one. */
export const mayBeAgain = (type: number): boolean => COUNTED.has(type) && type !== Type.Tell;

const UNFINISHED = new Set<number>([Type.Packet, Type.Emit, Type.Join, Type.Leave, Type.Disconnect, Type.Enter, Type.Exit, Type.Close]);

/** True for the types of frames that another node may have to carry out instead of a lost one. */
export const mayBeUnfinished = (type: number): boolean => UNFINISHED.has(type);

/** True if a frame must not be sent in any other session. */
export const belongsToSession = (frame: FromApp): boolean => SESSION_FRAMES.has(frame.type);

/** True if a frame may be sent in the session after the one that it was meant for. A request may not: its caller gets
 * the error session-lost. */
export const outlivesSession = (frame: FromApp): boolean =>
  !belongsToSession(frame) && frame.type !== Type.Cover && frame.type !== Type.Again && (!Object.hasOwn(frame, "ref") || (frame as { ref: number }).ref === 0);

function limits(hello: ServiceHello, own: OwnLimits): Limits {
  return { window: hello.window, maxBatch: hello.maxBatch, maxQueue: own.maxQueue };
}

