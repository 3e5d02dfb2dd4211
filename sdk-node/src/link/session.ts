// One session: what outlives the WebSockets that carry it. No I/O and no clock.

import { decodeBatch } from "../wire/decode.js";
import { REVISION, Type, type FromApp, type FromService, type ServiceHello } from "../wire/frames.js";
import { MoorageError } from "../wire/errors.js";
import { badFrame } from "../wire/reader.js";
import { Incoming, type Limits, Outgoing, unnumbered } from "../wire/stream.js";
import type { Numbered } from "./dispatch.js";

/** This end's own terms, in bytes. */
export interface Terms {
  readonly window: number;
  readonly maxQueue: number;
}

/** The app server's first message. `session`: the one to resume, if there is one. */
export function appHello(sdk: string, terms: Terms, session: Session | undefined, emitOnly: boolean): Buffer {
  return unnumbered(0, {
    type: Type.Hello,
    revision: REVISION,
    sdk,
    session: session?.id ?? "",
    received: session?.incoming.received ?? 0,
    window: terms.window,
    emitOnly,
  });
}

/** The service's answer. Raises `MoorageError` (link-bad-frame) for anything else. */
export function serviceHello(bytes: Buffer): ServiceHello {
  const { number, frames } = decodeBatch(bytes);
  const [hello] = frames;
  if (number !== 0 || frames.length !== 1 || hello?.type !== Type.Hello) throw badFrame("a hello comes first, and alone");
  return hello;
}

export class Session {
  readonly id: string;
  readonly incoming: Incoming;
  readonly outgoing: Outgoing;
  readonly #terms: Terms;
  #limits: Limits;

  constructor(hello: ServiceHello, terms: Terms) {
    this.id = hello.session;
    this.#terms = terms;
    this.incoming = new Incoming(terms.window);
    this.#limits = limits(hello, terms);
    this.outgoing = new Outgoing(this.#limits);
  }

  /** On a new link: the batches to send again. Raises `MoorageError` (link-bad-frame). */
  resume(hello: ServiceHello): Buffer[] {
    this.#limits = limits(hello, this.#terms);
    this.outgoing.limits = this.#limits;
    return this.outgoing.resume(hello.received);
  }

  /** A message of the service: each of its frames, once, goes to `take`, which must not raise. Raises
   * `MoorageError` (link-bad-frame), and then has handed over nothing of it. */
  receive(bytes: Buffer, take: (frame: Numbered) => void): void {
    const { number, ack, frames } = decodeBatch(bytes);
    this.outgoing.taken(ack);
    if (number === 0) {
      if (frames.length > 0) throw badFrame("frames in a batch without a number");
      return;
    }
    if (!frames.every(isNumbered)) throw badFrame("a hello where none was due");
    if (!this.incoming.arrived(number, bytes.length, frames.length)) return;
    for (const frame of frames) take(frame);
    // Handlers run to their end, so what came is taken here.
    this.incoming.takeAll();
  }

  /** The next batch to send; undefined where there is none, or no credit. */
  next(): Buffer | undefined {
    const batch = this.outgoing.take(this.incoming.ack);
    if (batch !== undefined) this.incoming.told();
    return batch;
  }

  /** A message that only acknowledges. */
  ack(): Buffer {
    return unnumbered(this.incoming.told());
  }

  /** As `Outgoing.queue`; but what lets a client in or out finds room always. Nobody could catch the error where
   * socket.io itself sends it, and there is little of it for each client. */
  queue(frame: FromApp): void {
    try {
      this.outgoing.queue(frame);
    } catch (error) {
      if (!isOverflow(error) || !isVital(frame)) throw error;
      this.outgoing.limits = { ...this.#limits, maxQueue: Infinity };
      try {
        this.outgoing.queue(frame);
      } finally {
        this.outgoing.limits = this.#limits;
      }
    }
  }

  /** Queue, unless there is no credit for it now, or no room. */
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

const isOverflow = (error: unknown): boolean => error instanceof MoorageError && error.reason === "link-overflow";

const VITAL = new Set<number>([Type.Opened, Type.Refused, Type.Close]);
/** CONNECT, DISCONNECT and CONNECT_ERROR, as messages. */
const VITAL_PACKET = /^4[014]/;

function isVital(frame: FromApp): boolean {
  return frame.type === Type.Packet ? VITAL_PACKET.test(frame.payload) : VITAL.has(frame.type);
}

function limits(hello: ServiceHello, terms: Terms): Limits {
  return { window: hello.window, maxBatch: hello.maxBatch, maxQueue: terms.maxQueue };
}

