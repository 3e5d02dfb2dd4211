// The link to a service: one WebSocket at a time, one session as long as it can be resumed.

import { EventEmitter } from "node:events";

import createDebug from "debug";

import { MoorageError } from "../wire/errors.js";
import { Type, type Done, type FromApp, type ServiceHello } from "../wire/frames.js";
import { Backoff } from "./backoff.js";
import { dispatch, type Numbered } from "./dispatch.js";
import { ended, garbled, sessionLost, silent } from "./ends.js";
import { settings, type Settings } from "./options.js";
import { Pulse } from "./pulse.js";
import { Requests } from "./requests.js";
import { Session, appHello, serviceHello } from "./session.js";
import type { LinkEvents, LinkHandler, LinkOptions, LinkState, RequestOptions } from "./types.js";
import { Wire, type WireOwner } from "./wire.js";

const debug = createDebug("moorage:link");

/** Milliseconds that `close` waits for what could not leave yet. */
const DRAIN = 1_000;

/** Frames about one client, or in answer to the service. When a session is lost they must not get into the
 * next one, where the same numbers are others'. */
const OF_OLD = new Set<number>([
  Type.Packet,
  Type.Opened,
  Type.Refused,
  Type.Close,
  Type.Enter,
  Type.Exit,
  Type.Facts,
  Type.Reply,
]);

/** May it go into the session after the one that it was meant for? Who waits for an answer is told otherwise. */
const outlives = (frame: FromApp): boolean => !OF_OLD.has(frame.type) && (!Object.hasOwn(frame, "ref") || (frame as { ref: number }).ref === 0);

export class Link extends EventEmitter<LinkEvents> {
  /** Set it by the option, or before anything of this turn of the event loop has ended. */
  handler: LinkHandler | undefined;
  readonly serverId: string;
  state: LinkState = "connecting";
  readonly #settings: Settings;
  readonly #requests = new Requests();
  readonly #backoff = new Backoff();
  readonly #pulse: Pulse;
  #session: Session | undefined;
  #wire: Wire | undefined;
  #hello: ServiceHello | undefined;
  /** The session is not to be resumed. */
  #spoilt = false;
  /** What was sent without a link, and is about no client: if the session is lost, the next one gets it. */
  #kept: FromApp[] = [];
  /** Listeners take leave of the old session's clients. */
  #leaving = false;
  #flushing = false;
  #retry: NodeJS.Timeout | undefined;
  #cause: MoorageError | undefined;
  #end: Promise<void> | undefined;
  /** `close` waits for the queue to empty. */
  #emptied: (() => void) | undefined;
  #first: { resolve: (link: Link) => void; reject: (error: MoorageError) => void } | undefined;

  private constructor(options: LinkOptions) {
    super();
    this.#settings = settings(options);
    this.serverId = this.#settings.serverId;
    this.handler = options.handler;
    this.#pulse = new Pulse((idle) => this.#ack(idle), () => this.#silent());
  }

  /** Resolves once the service has said hello; rejects with a `MoorageError` that names cause and fix. */
  static async connect(options: LinkOptions): Promise<Link> {
    const link = new Link(options);
    return new Promise((resolve, reject) => {
      link.#first = { resolve, reject };
      options.signal?.addEventListener("abort", () => link.#giveUp(), { once: true });
      link.#dial();
    });
  }

  get sessionId(): string {
    return this.#session?.id ?? "";
  }

  /** What the service said of itself, last; undefined before the first hello. */
  get service(): ServiceHello | undefined {
    return this.#hello;
  }

  /** Bytes that wait to be sent. */
  get queuedBytes(): number {
    return this.#session?.outgoing.waiting ?? 0;
  }

  // --- sending -----------------------------------------------------------------------------------

  /** At the end of the queue; all frames of one turn of the event loop leave as one message. Throws a
   * `MoorageError`: link-overflow if more than `maxQueueBytes` wait, link-frame-too-large, link-closed. */
  send(frame: FromApp): void {
    const session = this.#open();
    // As it would have been, had it been sent a moment before.
    if (this.#leaving && OF_OLD.has(frame.type)) return;
    session.queue(frame);
    if (this.state !== "up" && outlives(frame)) this.#kept.push(frame);
    if (!this.#flushing) this.#flushSoon();
  }

  /** As `send`, but false instead of waiting when the link is down or without credit. */
  sendVolatile(frame: FromApp): boolean {
    if (this.state !== "up" || !this.#open().queueVolatile(frame)) return false;
    if (!this.#flushing) this.#flushSoon();
    return true;
  }

  /** Sends the frame that `make` builds around a fresh `ref`, and resolves with its `Done` (of a `List`:
   * one made up, `Servers` goes to `onPart`). Rejects with the service's `Failed` as a `MoorageError`,
   * with session-lost, request-timeout, or as `send` throws. */
  async request(make: (ref: number) => FromApp, options: RequestOptions = {}): Promise<Done> {
    const ref = this.#requests.next();
    const frame = make(ref);
    if (this.#leaving && OF_OLD.has(frame.type)) throw sessionLost();
    this.send(frame);
    return this.#requests.wait(ref, options);
  }

  #open(): Session {
    if (this.state === "closed" || this.#session === undefined) throw ended(this.#cause);
    return this.#session;
  }

  /** When all that can run now has run, handlers behind resolved promises too. `setImmediate` would add a
   * look at the sockets in between: side by side it took 4 to 12 % more of the app's CPU per round trip
   * with 1 and with 10 clients, and the same with 100. */
  #flushSoon(): void {
    this.#flushing = true;
    queueMicrotask(this.#afterMicrotasks);
  }

  readonly #afterMicrotasks = (): void => process.nextTick(this.#flush);

  readonly #flush = (): void => {
    this.#flushing = false;
    const session = this.#session;
    const wire = this.#wire;
    if (this.state !== "up" || session === undefined || wire === undefined) return;
    let sent = false;
    for (let batch = session.next(); batch !== undefined; batch = session.next()) {
      wire.send(batch);
      sent = true;
    }
    if (sent || session.incoming.isDue) this.#pulse.sent();
    if (!sent && session.incoming.isDue) wire.send(session.ack());
    if (this.#emptied !== undefined && session.outgoing.waiting === 0) this.#emptied();
  };

  /** What no batch has carried. */
  #ack(idle: boolean): void {
    const session = this.#open();
    if (!idle && !session.incoming.hasNews) return;
    this.#wire?.send(session.ack());
    this.#pulse.sent();
  }

  // --- one connection after the other ------------------------------------------------------------

  #dial(): void {
    debug("dialling %s", this.#settings.endpoint);
    this.#wire = new Wire(this.#settings.target(), this.#owner);
  }

  readonly #owner: WireOwner = {
    opened: (wire) => {
      const { sdk, window, maxQueue, emitOnly } = this.#settings;
      wire.send(appHello(sdk, { window, maxQueue }, this.#spoilt ? undefined : this.#session, emitOnly));
    },
    message: (wire, bytes) => {
      try {
        if (this.state === "up") this.#receive(bytes);
        else this.#greet(wire, serviceHello(bytes));
      } catch (error) {
        // Handlers cannot get here: see `#take`. And resuming would bring the same bytes again.
        this.#spoilt = true;
        wire.reject(garbled(this.#settings, error as MoorageError, this.#first === undefined));
      }
    },
    ended: (_, cause) => this.#ended(cause),
  };

  #receive(bytes: Buffer): void {
    const session = this.#open();
    this.#pulse.read();
    this.#backoff.reset();
    session.receive(bytes, this.#take);
    if (!this.#flushing && (session.incoming.isDue || session.outgoing.waiting > 0)) this.#flushSoon();
  }

  readonly #take = (frame: Numbered): void => {
    const handler = this.handler;
    try {
      if (handler !== undefined) dispatch(frame, handler, this.#requests);
    } catch (error) {
      this.#fault(error);
    }
  };

  /** Ours is a callback of the WebSocket: what a listener throws must not look like the peer's fault. */
  #tell<Name extends keyof LinkEvents>(name: Name, ...args: LinkEvents[Name]): void {
    try {
      (this as EventEmitter).emit(name, ...args);
    } catch (error) {
      this.#fault(error);
    }
  }

  /** Later, so that the frames after it come first, and that without a listener the process fails as it
   * does for what a handler of socket.io throws. */
  #fault(error: unknown): void {
    queueMicrotask(() => this.emit("error", error));
  }

  #greet(wire: Wire, hello: ServiceHello): void {
    const old = this.#session;
    const resumed = old !== undefined && hello.resumed && hello.session === old.id;
    const replay = resumed ? old.resume(hello) : [];
    wire.greeted();
    this.#hello = hello;
    if (!resumed) this.#begin(hello, old);
    for (const batch of replay) wire.send(batch);
    this.state = "up";
    this.#kept = [];
    this.#pulse.start(hello.keepalive);
    this.#flush();
    debug("up, session %s, %s", hello.session, resumed ? "resumed" : "new");
    if (old !== undefined) this.#tell("restored", resumed);
    this.#first?.resolve(this);
    this.#first = undefined;
  }

  #begin(hello: ServiceHello, old: Session | undefined): void {
    const { window, maxQueue } = this.#settings;
    this.#spoilt = false;
    this.#session = new Session(hello, { window, maxQueue });
    if (old === undefined) return;
    this.#requests.rejectAll(sessionLost());
    for (const frame of this.#kept) this.#queueAgain(frame);
    this.#leaving = true;
    this.#tell("session", hello.session);
    this.#leaving = false;
  }

  #queueAgain(frame: FromApp): void {
    try {
      this.#session?.outgoing.queue(frame);
    } catch (error) {
      // The service may read less than the one before.
      this.#fault(error);
    }
  }

  // --- its end -----------------------------------------------------------------------------------

  #silent(): void {
    const wire = this.#wire;
    wire?.abandon();
    this.#ended(silent(this.#settings));
  }

  /** A connection is gone, or was not made. */
  #ended(cause: MoorageError): void {
    debug("ended: %s", cause.message);
    this.#wire = undefined;
    this.#pulse.stop();
    if (this.#isFinal(cause)) return this.#finish(cause);
    if (this.state === "up") {
      this.state = "lost";
      this.#tell("lost", cause);
    }
    // A listener may have closed us.
    if (this.state !== "closed") this.#retry = setTimeout(() => this.#dial(), this.#backoff.next());
  }

  /** After a first link only the service itself ends it, whose reasons have numbers: what others say in its place is
   * what a proxy says while the service restarts. */
  #isFinal({ retry, number }: MoorageError): boolean {
    if (this.#first !== undefined && !this.#settings.retryFirst) return true;
    return !retry && (this.#hello === undefined || number !== 0);
  }

  /** For good: with the error that ended it, or because it was asked to. */
  #finish(cause: MoorageError | undefined): void {
    if (this.state === "closed") return;
    this.state = "closed";
    this.#cause = cause;
    this.#pulse.stop();
    clearTimeout(this.#retry);
    this.#wire?.abandon();
    this.#emptied?.();
    this.#requests.rejectAll(ended(cause));
    this.#first?.reject(cause ?? ended(undefined));
    if (this.#first === undefined) this.#tell("closed", cause);
    this.#first = undefined;
  }

  /** Before the first hello. */
  #giveUp(): void {
    const first = this.#first;
    if (!first) return;
    this.#first = undefined;
    this.#finish(undefined);
    first.resolve(this);
  }

  /** Farewell: asks for no new clients, waits at most `drain` milliseconds (default 1,000) for what could
   * not leave yet, and closes. The service then closes the clients that are left. */
  close({ drain = DRAIN }: { drain?: number } = {}): Promise<void> {
    this.#end ??= this.#close(drain);
    return this.#end;
  }

  async #close(drain: number): Promise<void> {
    if (this.state === "closed") return;
    // Only a courtesy: no new clients until the farewell.
    this.sendVolatile({ type: Type.Drain, seconds: drain / 1000 });
    await this.#empty(drain);
    const wire = this.#wire;
    this.#wire = undefined;
    const gone = this.state === "up" ? wire?.farewell() : wire?.abandon();
    this.#finish(undefined);
    await gone;
  }

  /** Wait for the queue, and for the link if it is down. */
  async #empty(ms: number): Promise<void> {
    const timer = new Promise<void>((resolve) => {
      const late = setTimeout(resolve, ms);
      this.#emptied = () => {
        clearTimeout(late);
        resolve();
      };
    });
    this.#flush();
    await timer;
    this.#emptied = undefined;
  }
}
