// The link to one node: one WebSocket at a time, and one session for as long as it can be resumed.

import createDebug from "debug";

import { MoorageError } from "../wire/errors.js";
import { Type, type Done, type FromApp, type Nodes, type ServiceHello } from "../wire/frames.js";
import type { Untaken } from "../wire/stream.js";
import { Backoff } from "./backoff.js";
import { dispatch, type Numbered } from "./dispatch.js";
import { linkClosed, protocolError, sessionLost, linkSilent, wrongNode } from "./errors/close.js";
import type { Place, Settings } from "./options.js";
import type { NodeView } from "./planner.js";
import { KeepAlive } from "./keepalive.js";
import type { Requests } from "./requests.js";
import { Session, appHello, belongsToSession, outlivesSession, serviceHello } from "./session.js";
import type { ClientLink, LinkHandler, LinkState, RequestOptions } from "./types.js";
import { Transport, type TransportListener } from "./transport.js";

const debug = createDebug("moorage:link");

/** Default of `close`: milliseconds to wait for frames that could not be sent yet. */
const DEFAULT_DRAIN = 1_000;
/** Milliseconds beyond the service's grace time: it may have noticed later that the link is down. */
const GRACE_EXTRA = 1_000;

/** The fleet that a link belongs to, as the link uses it. */
export interface LinkOwner {
  readonly settings: Settings;
  readonly instance: string;
  readonly requests: Requests;
  /** Where the next attempt goes. */
  place(link: Link): Place;
  /** True if the link may have a session at the node that has answered. */
  accepts(link: Link, node: string): boolean;
  /** There is a new session, and nothing is in its queue yet. `old`: the session that it replaces. */
  began(link: Link, old: Session | undefined): void;
  /** Frames that were sent while the link was down are in the new session's queue. `former`: the node of the session `old`. */
  renewed(link: Link, old: Session, former: string): void;
  /** A session is lost: its clients are to be closed. */
  clientsLost(link: Link): void;
  /** `session`: "new" for the first one, "renewed" for one that replaces another, "resumed". */
  up(link: Link, session: "new" | "renewed" | "resumed"): void;
  down(link: Link, cause: MoorageError): void;
  /** The link has been down for longer than the service keeps a session. */
  expired(link: Link): void;
  /** True if there must be no further attempt. */
  isFinal(link: Link, cause: MoorageError): boolean;
  /** There are no further attempts. `cause`: the error that ended it, or undefined after `close`. */
  finished(link: Link, cause: MoorageError | undefined): void;
  listed(link: Link, frame: Nodes): void;
  /** The name of the link's node. */
  name(link: Link): string;
  /** Reports an exception of a handler. */
  failed(error: unknown): void;
}

export class Link implements ClientLink {
  state: LinkState = "connecting";
  /** True once a hello has been answered. */
  greeted = false;
  /** Number of attempts to connect since the link was up. */
  attempts = 0;
  /** True if the node is gone, as the service says. */
  isGone = false;
  handler: LinkHandler;
  readonly requests: Requests;
  readonly #owner: LinkOwner;
  readonly #backoff = new Backoff();
  /** When the link came up, and when it broke, in milliseconds of `performance.now()`. */
  #upSince = 0;
  #downSince = 0;
  /** Ends when the service has given the session up. */
  #expiry: NodeJS.Timeout | undefined;
  readonly #keepAlive: KeepAlive;
  #session: Session | undefined;
  #transport: Transport | undefined;
  #hello: ServiceHello | undefined;
  /** True if the session must not be resumed. */
  #unresumable = false;
  /** Frames that were sent while the link was down and belong to no session. If the session is lost, they are queued
   * in the next one. */
  #carriedOver: FromApp[] = [];
  /** True while the clients of the lost session are being closed. */
  #changingSession = false;
  #flushing = false;
  #retry: NodeJS.Timeout | undefined;
  #cause: MoorageError | undefined;
  #closing: Promise<void> | undefined;
  /** Set while `close` waits for the queue to empty. */
  #onEmpty: (() => void) | undefined;

  constructor(
    owner: LinkOwner,
    readonly view: NodeView,
    handlerOf: (link: ClientLink) => LinkHandler,
  ) {
    this.#owner = owner;
    this.requests = owner.requests;
    this.#keepAlive = new KeepAlive((idle) => this.#ack(idle), () => this.#silent());
    this.handler = handlerOf(this);
  }

  get sessionId(): string {
    return this.#session?.id ?? "";
  }

  get recovers(): boolean {
    return (this.#hello?.recovery ?? 0) > 0;
  }

  /** The service's last hello; undefined before the first. */
  get service(): ServiceHello | undefined {
    return this.#hello;
  }

  /** Bytes that wait to be sent. */
  get queuedBytes(): number {
    return this.#session?.outgoing.waiting ?? 0;
  }

  /** The name of the node, for people. */
  get nodeName(): string {
    return this.#owner.name(this);
  }

  // --- sending -----------------------------------------------------------------------------------

  /** Appends a frame to the queue. All frames of one turn of the event loop leave in one message. Throws a
   * `MoorageError`: link-overflow if more than `maxQueueBytes` wait, link-frame-too-large, link-closed. */
  send(frame: FromApp): void {
    // The client is closed, so the frame is dropped, as it would have been with the lost session.
    if (this.#changingSession && belongsToSession(frame)) return;
    const session = this.#requireSession();
    session.queue(frame);
    if (this.state !== "up" && outlivesSession(frame)) this.#carriedOver.push(frame);
    if (!this.#flushing) this.#flushSoon();
  }

  /** Like `send`, but returns false instead of waiting when the link is down or without credit. */
  sendVolatile(frame: FromApp): boolean {
    if (this.state !== "up") return false;
    if (!this.#requireSession().queueVolatile(frame)) return false;
    if (!this.#flushing) this.#flushSoon();
    return true;
  }

  /** Sends the frame that `make` builds with a fresh `ref`, and resolves with its `Done`. Rejects with the service's
   * `Failed` as a `MoorageError`, with session-lost, with request-timeout, or with what `send` throws. */
  async request(make: (ref: number) => FromApp, options: RequestOptions = {}): Promise<Done> {
    const ref = this.requests.next();
    const frame = make(ref);
    if (this.#changingSession && belongsToSession(frame)) throw sessionLost();
    this.send(frame);
    return this.requests.wait(ref, [this], options);
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

  /** Makes an attempt to connect. */
  dial(): void {
    try {
      const target = this.#owner.settings.target(this.#owner.place(this));
      debug("dialling %s", target.url);
      this.attempts += 1;
      this.#transport = new Transport(target, this.#transportListener);
    } catch (error) {
      // The node's address is not one.
      this.#ended(error as MoorageError);
    }
  }

  readonly #transportListener: TransportListener = {
    opened: (transport) => {
      const session = this.#unresumable ? undefined : this.#session;
      transport.send(appHello(this.#owner.settings, session, this.#owner.instance));
    },
    message: (transport, bytes) => {
      try {
        if (this.state === "up") this.#receive(bytes);
        else this.#receiveHello(transport, serviceHello(bytes));
      } catch (error) {
        // Handlers' errors do not get here (see `#handle`), so the bytes are at fault. Resuming would bring the same
        // bytes again.
        this.#unresumable = true;
        transport.reject(protocolError(this.#owner.settings, error as MoorageError, this.greeted));
      }
    },
    ended: (_, cause) => this.#ended(cause),
  };

  #receive(bytes: Buffer): void {
    const session = this.#requireSession();
    this.#keepAlive.read();
    session.receive(bytes, this.#handle);
    if (!this.#flushing && (session.incoming.isDue || session.outgoing.waiting > 0)) this.#flushSoon();
  }

  readonly #handle = (frame: Numbered): void => {
    try {
      dispatch(frame, this);
    } catch (error) {
      this.#owner.failed(error);
    }
  };

  /** The node has listed the nodes. */
  nodes(frame: Nodes): void {
    this.#owner.listed(this, frame);
  }

  #receiveHello(transport: Transport, hello: ServiceHello): void {
    if (!this.#owner.accepts(this, hello.node)) {
      this.#transport = undefined;
      void transport.close();
      return this.#ended(wrongNode(this.#owner.settings, hello.node));
    }
    const old = this.#session;
    const resumed = old !== undefined && hello.resumed && hello.session === old.id;
    const replay = resumed ? old.resume(hello) : [];
    transport.helloReceived();
    this.#hello = hello;
    this.greeted = true;
    this.attempts = 0;
    this.isGone = false;
    if (!resumed) this.#startSession(hello, old);
    for (const batch of replay) transport.send(batch);
    this.state = "up";
    this.#upSince = performance.now();
    clearTimeout(this.#expiry);
    this.#carriedOver = [];
    this.#keepAlive.start(hello.keepalive);
    this.#flush();
    debug("up, session %s, %s", hello.session, resumed ? "resumed" : "new");
    this.#owner.up(this, resumed ? "resumed" : old === undefined ? "new" : "renewed");
  }

  #startSession(hello: ServiceHello, old: Session | undefined): void {
    const { window, maxQueue } = this.#owner.settings;
    this.#unresumable = false;
    const session = new Session(hello, { window, maxQueue });
    this.#session = session;
    // `began` below makes the fleet send frames in this session. They must not be carried over a second time.
    const carriedOver = this.#carriedOver;
    this.#carriedOver = [];
    const former = this.view.node;
    this.#owner.began(this, old);
    for (const frame of carriedOver) this.#carryOver(session, frame);
    if (old === undefined) return;
    this.#owner.renewed(this, old, former);
    this.#loseClients();
  }

  #loseClients(): void {
    this.#changingSession = true;
    this.#owner.clientsLost(this);
    this.#changingSession = false;
  }

  #carryOver(session: Session, frame: FromApp): void {
    try {
      // It was accepted when it was sent, and what is handed over for a lost node may have filled the queue.
      session.queueInAnyCase(frame);
    } catch (error) {
      // The next service may accept smaller frames than the one before.
      this.#owner.failed(error);
    }
  }

  /** The frames that the lost session `session` (default: the present one) has not delivered for sure, in order. */
  untaken(session = this.#session): Iterable<Untaken> {
    return session?.outgoing.untaken() ?? [];
  }

  /** Gives the session up. Another one begins when the service allows it. */
  giveUp(cause: MoorageError): void {
    const transport = this.#transport;
    this.#transport = undefined;
    this.#session = undefined;
    this.#carriedOver = [];
    this.#keepAlive.stop();
    clearTimeout(this.#retry);
    if (this.state === "up") void transport?.close();
    else transport?.abandon();
    this.#ended(cause);
    clearTimeout(this.#expiry);
    this.#loseClients();
  }

  /** Leaves the node for good. What waits is still sent, for a while. */
  leave(): void {
    if (this.state === "up") void this.close();
    else this.end();
    this.#loseClients();
  }

  /** Events for app servers that have waited for the link. Any node passes them on. */
  carriedTells(): FromApp[] {
    return this.#carriedOver.filter(({ type }) => type === Type.Tell);
  }

  // --- its end -----------------------------------------------------------------------------------

  #silent(): void {
    const transport = this.#transport;
    transport?.abandon();
    this.#ended(linkSilent(this.#owner.settings));
  }

  /** A connection ended, or an attempt failed. */
  #ended(cause: MoorageError): void {
    debug("ended: %s", cause.message);
    this.isGone = cause.reason === "link-session-gone";
    this.#transport = undefined;
    this.#keepAlive.stop();
    if (this.#owner.isFinal(this, cause)) return this.end(cause);
    const wasUp = this.state === "up";
    const grace = this.#hello?.grace ?? 0;
    if (wasUp) {
      this.state = "lost";
      this.#downSince = performance.now();
      this.#backoff.broke(this.#downSince - this.#upSince);
    }
    const inGrace = this.state === "lost" && performance.now() - this.#downSince < grace;
    this.#retry = setTimeout(() => this.dial(), this.#backoff.next(inGrace));
    if (!wasUp) return;
    this.#expireAfter(grace + GRACE_EXTRA);
    this.#owner.down(this, cause);
  }

  /** A session whose link is down longer than the service keeps it is over, once there are others. */
  #expireAfter(ms: number): void {
    this.#expiry = setTimeout(() => {
      this.#owner.expired(this);
      if (this.#session !== undefined && this.state === "lost") this.#expireAfter(GRACE_EXTRA);
    }, ms);
  }

  /** Ends the link for good: with the error that ended it, or undefined after `close`. */
  end(cause?: MoorageError): void {
    if (this.state === "closed") return;
    this.state = "closed";
    this.#cause = cause;
    this.#keepAlive.stop();
    clearTimeout(this.#retry);
    clearTimeout(this.#expiry);
    this.#transport?.abandon();
    this.#onEmpty?.();
    this.#owner.finished(this, cause);
  }

  /** Asks for no new clients, waits at most `drain` milliseconds (default 1,000) for frames that could not be sent
   * yet, and closes. The service then closes the remaining clients. */
  close({ drain = DEFAULT_DRAIN }: { drain?: number } = {}): Promise<void> {
    this.#closing ??= this.#close(drain);
    return this.#closing;
  }

  async #close(drain: number): Promise<void> {
    if (this.state === "closed") return;
    if (this.#session === undefined) return this.end();
    // Best effort: the service may still send clients until the WebSocket is closed.
    this.sendVolatile({ type: Type.Drain, seconds: drain / 1000 });
    await this.#waitUntilEmpty(drain);
    const transport = this.#transport;
    this.#transport = undefined;
    const closed = this.state === "up" ? transport?.close() : transport?.abandon();
    this.end();
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
