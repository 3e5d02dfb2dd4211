// The link to a service: one WebSocket at a time, and one session for as long as it can be resumed.

import { randomBytes } from "node:crypto";
import { EventEmitter } from "node:events";

import createDebug from "debug";

import { MoorageError } from "../wire/errors.js";
import { Type, type Done, type FromApp, type ServiceHello } from "../wire/frames.js";
import { Backoff } from "./backoff.js";
import { dispatch, type Numbered } from "./dispatch.js";
import { linkClosed, protocolError, sessionLost, linkSilent } from "./close-errors.js";
import { settings, type Settings } from "./options.js";
import { KeepAlive } from "./keepalive.js";
import { Requests } from "./requests.js";
import { Session, appHello, belongsToSession, isCounted, outlivesSession, serviceHello } from "./session.js";
import type { LinkEvents, LinkHandler, LinkOptions, LinkState, RequestOptions } from "./types.js";
import { Transport, type TransportListener } from "./transport.js";

const debug = createDebug("moorage:link");

/** Default of `close`: milliseconds to wait for frames that could not be sent yet. */
const DEFAULT_DRAIN = 1_000;

export class Link extends EventEmitter<LinkEvents> {
  /** Set by the option, or later in the same turn of the event loop in which `connect` resolved. */
  handler: LinkHandler | undefined;
  readonly serverId: string;
  state: LinkState = "connecting";
  readonly #settings: Settings;
  readonly #requests = new Requests();
  readonly #backoff = new Backoff();
  readonly #keepAlive: KeepAlive;
  readonly #instance = randomBytes(12).toString("base64url");
  /** Number of the last counted frame. */
  #counted = 0;
  #session: Session | undefined;
  #transport: Transport | undefined;
  #hello: ServiceHello | undefined;
  /** True if the session must not be resumed. */
  #unresumable = false;
  /** Frames that were sent while the link was down and belong to no session. If the session is lost, they are queued
   * in the next one. */
  #carriedOver: FromApp[] = [];
  /** True while the listeners of "session" run: they close the clients of the lost session. */
  #changingSession = false;
  #flushing = false;
  #retry: NodeJS.Timeout | undefined;
  #cause: MoorageError | undefined;
  #closing: Promise<void> | undefined;
  /** Set while `close` waits for the queue to empty. */
  #onEmpty: (() => void) | undefined;
  #connecting: { resolve: (link: Link) => void; reject: (error: MoorageError) => void } | undefined;

  private constructor(options: LinkOptions) {
    super();
    this.#settings = settings(options);
    this.serverId = this.#settings.serverId;
    this.handler = options.handler;
    this.#keepAlive = new KeepAlive((idle) => this.#ack(idle), () => this.#silent());
  }

  /** Resolves once the service has answered the hello. Rejects with a `MoorageError` that names cause and remedy. */
  static async connect(options: LinkOptions): Promise<Link> {
    const link = new Link(options);
    return new Promise((resolve, reject) => {
      link.#connecting = { resolve, reject };
      options.signal?.addEventListener("abort", () => link.#abort(), { once: true });
      link.#dial();
    });
  }

  get sessionId(): string {
    return this.#session?.id ?? "";
  }

  /** The service's last hello; undefined before the first. */
  get service(): ServiceHello | undefined {
    return this.#hello;
  }

  /** Bytes that wait to be sent. */
  get queuedBytes(): number {
    return this.#session?.outgoing.waiting ?? 0;
  }

  // --- sending -----------------------------------------------------------------------------------

  /** Appends a frame to the queue. All frames of one turn of the event loop leave in one message. Throws a
   * `MoorageError`: link-overflow if more than `maxQueueBytes` wait, link-frame-too-large, link-closed. */
  send(frame: FromApp): void {
    const session = this.#requireSession();
    // The client is closed, so the frame is dropped, as it would have been with the lost session.
    if (this.#changingSession && belongsToSession(frame)) return;
    this.#count(frame);
    session.queue(frame);
    if (this.state !== "up" && outlivesSession(frame)) this.#carriedOver.push(frame);
    if (!this.#flushing) this.#flushSoon();
  }

  /** Like `send`, but returns false instead of waiting when the link is down or without credit. */
  sendVolatile(frame: FromApp): boolean {
    if (this.state !== "up") return false;
    this.#count(frame);
    if (!this.#requireSession().queueVolatile(frame)) return false;
    if (!this.#flushing) this.#flushSoon();
    return true;
  }

  #count(frame: FromApp): void {
    if (isCounted(frame)) frame.number = ++this.#counted;
  }

  /** Sends the frame that `make` builds with a fresh `ref`, and resolves with its `Done`. The answer to `List` has no
   * `Done`: `Servers` goes to `onPart`, and a `Done` is made for it. Rejects with the service's `Failed` as a
   * `MoorageError`, with session-lost, with request-timeout, or with what `send` throws. */
  async request(make: (ref: number) => FromApp, options: RequestOptions = {}): Promise<Done> {
    const ref = this.#requests.next();
    const frame = make(ref);
    if (this.#changingSession && belongsToSession(frame)) throw sessionLost();
    this.send(frame);
    return this.#requests.wait(ref, options);
  }

  #requireSession(): Session {
    if (this.state === "closed" || this.#session === undefined) throw linkClosed(this.#cause);
    return this.#session;
  }

  /** Flushes after the code that can run now, including handlers behind resolved promises. `setImmediate` would also
   * wait for a poll of the sockets: measured side by side, it took 4 to 12 % more of the app's CPU per round trip
   * with 1 and with 10 clients, and the same with 100. */
  #flushSoon(): void {
    this.#flushing = true;
    queueMicrotask(this.#afterMicrotasks);
  }

  readonly #afterMicrotasks = (): void => process.nextTick(this.#flush);

  readonly #flush = (): void => {
    this.#flushing = false;
    const session = this.#session;
    const transport = this.#transport;
    if (this.state !== "up" || session === undefined || transport === undefined) return;
    let sent = false;
    for (let batch = session.next(); batch !== undefined; batch = session.next()) {
      transport.send(batch);
      sent = true;
    }
    if (sent || session.incoming.isDue) this.#keepAlive.sent();
    if (!sent && session.incoming.isDue) transport.send(session.ack());
    if (this.#onEmpty !== undefined && session.outgoing.waiting === 0) this.#onEmpty();
  };

  /** Sends an acknowledgement that no batch has carried. */
  #ack(idle: boolean): void {
    const session = this.#requireSession();
    if (!idle && !session.incoming.hasUnsentAck) return;
    this.#transport?.send(session.ack());
    this.#keepAlive.sent();
  }

  // --- one connection after the other ------------------------------------------------------------

  #dial(): void {
    debug("dialling %s", this.#settings.endpoint);
    this.#transport = new Transport(this.#settings.target(), this.#transportListener);
  }

  readonly #transportListener: TransportListener = {
    opened: (transport) => {
      const { sdk, window, maxQueue, emitOnly } = this.#settings;
      transport.send(appHello(sdk, { window, maxQueue }, this.#unresumable ? undefined : this.#session, emitOnly, this.#instance));
    },
    message: (transport, bytes) => {
      try {
        if (this.state === "up") this.#receive(bytes);
        else this.#receiveHello(transport, serviceHello(bytes));
      } catch (error) {
        // Handlers' errors do not get here (see `#handle`), so the bytes are at fault. Resuming would bring the same
        // bytes again.
        this.#unresumable = true;
        transport.reject(protocolError(this.#settings, error as MoorageError, this.#connecting === undefined));
      }
    },
    ended: (_, cause) => this.#ended(cause),
  };

  #receive(bytes: Buffer): void {
    const session = this.#requireSession();
    this.#keepAlive.read();
    this.#backoff.reset();
    session.receive(bytes, this.#handle);
    if (!this.#flushing && (session.incoming.isDue || session.outgoing.waiting > 0)) this.#flushSoon();
  }

  readonly #handle = (frame: Numbered): void => {
    const handler = this.handler;
    try {
      if (handler !== undefined) dispatch(frame, handler, this.#requests);
    } catch (error) {
      this.#emitError(error);
    }
  };

  /** Emits an event. A listener's error becomes an "error" event: this code runs in a callback of the WebSocket, where
   * an error would be taken for the peer's fault. */
  #emitSafely<Name extends keyof LinkEvents>(name: Name, ...args: LinkEvents[Name]): void {
    try {
      (this as EventEmitter).emit(name, ...args);
    } catch (error) {
      this.#emitError(error);
    }
  }

  /** Emits "error" in a microtask: the frames after this one are handled first, and without a listener the process
   * fails, as it does when a handler of socket.io throws. */
  #emitError(error: unknown): void {
    queueMicrotask(() => this.emit("error", error));
  }

  #receiveHello(transport: Transport, hello: ServiceHello): void {
    const old = this.#session;
    const resumed = old !== undefined && hello.resumed && hello.session === old.id;
    const replay = resumed ? old.resume(hello) : [];
    transport.helloReceived();
    this.#hello = hello;
    if (!resumed) this.#startSession(hello, old);
    for (const batch of replay) transport.send(batch);
    this.state = "up";
    this.#carriedOver = [];
    this.#keepAlive.start(hello.keepalive);
    this.#flush();
    debug("up, session %s, %s", hello.session, resumed ? "resumed" : "new");
    if (old !== undefined) this.#emitSafely("restored", resumed);
    this.#connecting?.resolve(this);
    this.#connecting = undefined;
  }

  #startSession(hello: ServiceHello, old: Session | undefined): void {
    const { window, maxQueue } = this.#settings;
    this.#unresumable = false;
    this.#session = new Session(hello, { window, maxQueue });
    if (old === undefined) return;
    this.#requests.rejectAll(sessionLost());
    for (const frame of this.#carriedOver) this.#carryOver(frame);
    this.#changingSession = true;
    this.#emitSafely("session", hello.session);
    this.#changingSession = false;
  }

  #carryOver(frame: FromApp): void {
    try {
      this.#session?.outgoing.queue(frame);
    } catch (error) {
      // The next service may accept smaller frames than the one before.
      this.#emitError(error);
    }
  }

  // --- its end -----------------------------------------------------------------------------------

  #silent(): void {
    const transport = this.#transport;
    transport?.abandon();
    this.#ended(linkSilent(this.#settings));
  }

  /** A connection ended, or an attempt failed. */
  #ended(cause: MoorageError): void {
    debug("ended: %s", cause.message);
    this.#transport = undefined;
    this.#keepAlive.stop();
    if (this.#isFinal(cause)) return this.#finish(cause);
    if (this.state === "up") {
      this.state = "lost";
      this.#emitSafely("lost", cause);
    }
    // A listener may have closed this link.
    if (this.state !== "closed") this.#retry = setTimeout(() => this.#dial(), this.#backoff.next());
  }

  /** True if there shall be no further attempt. Once the link has been up, only the service itself can end it for
   * good, and its reasons have numbers. Other answers come from a proxy while the service restarts. */
  #isFinal({ retry, number }: MoorageError): boolean {
    if (this.#connecting !== undefined && !this.#settings.retryFirst) return true;
    return !retry && (this.#hello === undefined || number !== 0);
  }

  /** Ends the link for good: with the error that ended it, or undefined after `close`. */
  #finish(cause: MoorageError | undefined): void {
    if (this.state === "closed") return;
    this.state = "closed";
    this.#cause = cause;
    this.#keepAlive.stop();
    clearTimeout(this.#retry);
    this.#transport?.abandon();
    this.#onEmpty?.();
    this.#requests.rejectAll(linkClosed(cause));
    this.#connecting?.reject(cause ?? linkClosed(undefined));
    if (this.#connecting === undefined) this.#emitSafely("closed", cause);
    this.#connecting = undefined;
  }

  /** Stops an attempt to connect before the first hello. */
  #abort(): void {
    const first = this.#connecting;
    if (!first) return;
    this.#connecting = undefined;
    this.#finish(undefined);
    first.resolve(this);
  }

  /** Asks for no new clients, waits at most `drain` milliseconds (default 1,000) for frames that could not be sent
   * yet, and closes. The service then closes the remaining clients. */
  close({ drain = DEFAULT_DRAIN }: { drain?: number } = {}): Promise<void> {
    this.#closing ??= this.#close(drain);
    return this.#closing;
  }

  async #close(drain: number): Promise<void> {
    if (this.state === "closed") return;
    // Best effort: the service may still send clients until the WebSocket is closed.
    this.sendVolatile({ type: Type.Drain, seconds: drain / 1000 });
    await this.#waitUntilEmpty(drain);
    const transport = this.#transport;
    this.#transport = undefined;
    const closed = this.state === "up" ? transport?.close() : transport?.abandon();
    this.#finish(undefined);
    await closed;
  }

  /** Waits until the queue is empty, and for the link if it is down, but at most `ms` milliseconds. */
  async #waitUntilEmpty(ms: number): Promise<void> {
    const timer = new Promise<void>((resolve) => {
      const late = setTimeout(resolve, ms);
      this.#onEmpty = () => {
        clearTimeout(late);
        resolve();
      };
    });
    this.#flush();
    await timer;
    this.#onEmpty = undefined;
  }
}
