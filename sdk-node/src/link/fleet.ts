// The links of one app server: one to each node of the service that it covers. With a service of one node, that is one
// link. The planner decides which; this file dials, sends and drops.

import { randomBytes } from "node:crypto";
import { EventEmitter } from "node:events";

import createDebug from "debug";

import { MoorageError } from "../wire/errors.js";
import { Type, type Done, type FromApp, type Nodes, type ServiceHello } from "../wire/frames.js";
import type { Untaken } from "../wire/stream.js";
import { linkClosed, sessionLost, slowSession } from "./errors/close.js";
import { Link, type LinkOwner } from "./link.js";
import { settings, type Place, type Settings } from "./options.js";
import { Planner, type Order, type NodeView } from "./planner.js";
import { Requests } from "./requests.js";
import { isCounted, isForAll, isOverflow, mayBeAgain, mayBeUnfinished, type ForAll, type Session } from "./session.js";
import type { ClientLink, LinkEvents, LinkHandler, LinkOptions, LinkState, NodeInfo, RequestOptions } from "./types.js";

const debug = createDebug("moorage:fleet");

/** The revision of the link protocol in which nodes list each other. */
const SEVERAL_NODES = 4;

const ENDPOINT: Place = { url: "", node: "", session: "" };

export class Fleet extends EventEmitter<LinkEvents> implements LinkOwner {
  readonly serverId: string;
  state: LinkState = "connecting";
  readonly settings: Settings;
  readonly instance = randomBytes(12).toString("base64url");
  readonly requests = new Requests();
  readonly #planner = new Planner();
  readonly #links = new Map<NodeView, Link>();
  #handlerOf: (link: ClientLink) => LinkHandler;
  /** Number of the last counted frame. */
  #counted = 0;
  /** The links with a session. */
  #covering: readonly Link[] = [];
  /** Set while there is one of them. */
  #only: Link | undefined;
  #home: Link | undefined;
  /** When the last link that was up broke, by `performance.now()`. */
  #downSince = 0;
  #waiting: (() => void)[] = [];
  #closing: Promise<void> | undefined;
  #connecting: { resolve: (fleet: Fleet) => void; reject: (error: MoorageError) => void } | undefined;

  private constructor(options: LinkOptions) {
    super();
    this.settings = settings(options);
    this.serverId = this.settings.serverId;
    this.#handlerOf = options.handlerOf;
  }

  /** Resolves once a node of the service has answered the hello. Rejects with a `MoorageError` that names cause and
   * remedy. */
  static async connect(options: LinkOptions): Promise<Fleet> {
    const fleet = new Fleet(options);
    return new Promise((resolve, reject) => {
      fleet.#connecting = { resolve, reject };
      options.signal?.addEventListener("abort", () => fleet.#abort(), { once: true });
      fleet.#dial(fleet.#planner.add());
      // A signal tells of its abort once.
      if (options.signal?.aborted) fleet.#abort();
    });
  }

  /** Replaces the handlers of all links. */
  set handlerOf(handlerOf: (link: ClientLink) => LinkHandler) {
    this.#handlerOf = handlerOf;
    for (const link of this.#links.values()) link.handler = handlerOf(link);
  }

  /** The last hello of the home's node; undefined before the first. */
  get service(): ServiceHello | undefined {
    return this.#home?.service;
  }

  /** The home's session; "" before the first. */
  get sessionId(): string {
    return this.#home?.sessionId ?? "";
  }

  /** Bytes that wait to be sent to the slowest node. */
  get queuedBytes(): number {
    return Math.max(0, ...this.#covering.map((link) => link.queuedBytes));
  }

  /** The nodes with a session. */
  get nodes(): NodeInfo[] {
    const { alive, home } = this.#planner;
    return alive.map((view) => ({ id: view.node, name: view.name, region: view.region, connected: view.up, home: view === home }));
  }

  /** Resolves when there is a session at each node that should be covered, or after `ms` milliseconds. */
  async covered(ms: number): Promise<void> {
    if (this.state === "closed" || (this.service?.revision ?? 0) < SEVERAL_NODES) return;
    const end = performance.now() + ms;
    // A node that has others has listed them before it answers.
    await this.request((ref) => ({ type: Type.List, ref }), { timeout: ms }).catch(() => {});
    if (!this.#planner.covered) await this.#whenCovered(end - performance.now());
  }

  #whenCovered(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const end = (): void => {
        clearTimeout(timer);
        this.#waiting = this.#waiting.filter((other) => other !== check);
        resolve();
      };
      const check = (): void => void ((this.#planner.covered || this.state === "closed") && end());
      const timer = setTimeout(end, ms);
      this.#waiting.push(check);
    });
  }

  // --- sending -----------------------------------------------------------------------------------

  /** Sends a frame to the nodes that it is for: an emit, and all else that selects sockets, to each of them; events for
   * app servers to the home. Throws what `Link.send` throws. */
  send(frame: FromApp): void {
    if (isCounted(frame)) frame.number = ++this.#counted;
    if (this.#only !== undefined) this.#only.send(frame);
    else if (isForAll(frame)) this.#sendToAll(frame);
    else this.#homeLink().send(frame);
  }

  /** Like `send`, but skips links that are down or without credit. Returns false if there is no other. */
  sendVolatile(frame: FromApp): boolean {
    if (isCounted(frame)) frame.number = ++this.#counted;
    if (this.#only !== undefined) return this.#only.sendVolatile(frame);
    let sent = false;
    for (const link of this.#covering) sent = link.sendVolatile(frame) || sent;
    return sent;
  }

  /** Sends the frame that `make` builds with a fresh `ref`, and resolves with its `Done`. The answers of several nodes
   * become one: counts add up, and a node that does not answer is among the missing. The answer to `List` has no
   * `Done`: `Servers` goes to `onPart`, and a `Done` is made for it. Rejects with the service's `Failed` as a
   * `MoorageError`, with session-lost, with request-timeout, or with what `send` throws. */
  async request(make: (ref: number) => FromApp, options: RequestOptions = {}): Promise<Done> {
    const ref = this.requests.next();
    const frame = make(ref);
    if (isCounted(frame)) frame.number = ++this.#counted;
    return this.requests.wait(ref, this.#sendRequest(frame), options);
  }

  #sendRequest(frame: FromApp): readonly Link[] {
    if (this.#only === undefined && isForAll(frame)) return this.#sendToAll(frame);
    const link = this.#homeLink();
    link.send(frame);
    return [link];
  }

  #homeLink(): Link {
    if (this.#home === undefined) throw linkClosed(undefined);
    return this.#home;
  }

  /** Returns the links that have taken the frame. Links whose queue is full are given up, unless all are. */
  #sendToAll(frame: ForAll): readonly Link[] {
    const took: Link[] = [];
    const full: Link[] = [];
    let overflow: unknown;
    for (const link of this.#covering)
      try {
        link.send(frame);
        took.push(link);
      } catch (error) {
        if (!isOverflow(error)) throw error;
        overflow = error;
        full.push(link);
      }
    if (took.length === 0) throw overflow ?? linkClosed(undefined);
    // The home goes last, so that the new home is none of the others.
    full.sort((one, other) => Number(one === this.#home) - Number(other === this.#home));
    for (const link of full) this.#giveUp(link, frame, took);
    return took;
  }

  #giveUp(link: Link, frame: ForAll, took: Link[]): void {
    const wasHome = link === this.#home;
    this.#lost(link, [...link.untaken()]);
    if (wasHome && frame.type !== Type.Drain && frame.type !== Type.HandOver) {
      this.#homeLink().send({ type: Type.Again, frame });
      took.push(this.#homeLink());
    }
    link.giveUp(slowSession(this.settings));
    this.#follow();
  }

  /** The link of a session is down for longer than the service keeps it. Other sessions go on: the home then forwards
   * to that node, whose clients have come back through it. */
  expired(link: Link): void {
    if (!this.#planner.alive.some((view) => view !== link.view)) return;
    this.#lost(link, [...link.untaken()]);
    link.giveUp(sessionLost());
    this.#follow();
  }

  // --- sessions ------------------------------------------------------------------------------------

  #dial(view: NodeView): void {
    const link = new Link(this, view, this.#handlerOf);
    this.#links.set(view, link);
    link.dial();
  }

  /** The first link goes to the endpoint, where a balancer may lead to any node. All other attempts go to the node's
   * own address. If no node has answered for longer than sessions live, or the home is gone, the home's link looks for
   * any node at all. */
  place({ view, attempts, isGone, sessionId, service }: Link): Place {
    if (view.name === "") return ENDPOINT;
    const own = { url: view.url, node: view.node, session: sessionId };
    if (view === this.#planner.home && !this.#planner.up) {
      const late = performance.now() - this.#downSince > (service?.grace ?? 0);
      if (isGone || (late && attempts % 2 === 1)) return ENDPOINT;
    }
    return view.isFirst && attempts % 2 === 0 ? { ...own, url: "" } : own;
  }

  accepts(link: Link, node: string): boolean {
    return this.#planner.accepts(link.view, node);
  }

  began(link: Link, old: Session | undefined): void {
    const node = link.service?.node ?? "";
    if (old !== undefined) this.#lost(link, [...link.untaken(old)]);
    for (const view of this.#planner.views) if (view !== link.view && view.node === node) this.#drop(view);
    this.#order(this.#planner.began(link.view, node));
  }

  /** What was sent while the link was down counts as carried out when it is handed over. So the new node has to carry
   * it out before: clients that come back at once would get it a second time. */
  renewed(link: Link, old: Session, former: string): void {
    if (former !== link.view.node) this.#settle(former, old.id, [...link.untaken(old)]);
  }

  /** A node is lost. The others are told which frames it may not have carried out: one of them takes over its sockets. */
  #settle(node: string, session: string, untaken: readonly Untaken[]): void {
    const frames: FromApp[] = untaken
      .filter(({ type }) => mayBeUnfinished(type))
      .map(({ batch, place, bytes }) => ({ type: Type.Unfinished, node, session, batch, place, frame: bytes }));
    // A node takes data of sockets that it knows: it does when it has taken `Settled`.
    const saves: FromApp[] = untaken.flatMap(({ type, bytes }) => (type === Type.Save ? [{ type, frame: bytes }] : []));
    this.sendToKeepers(...frames, { type: Type.Settled, node, number: this.#counted }, ...saves);
  }

  sendToKeepers(...frames: readonly FromApp[]): void {
    for (const link of this.#covering)
      try {
        if (link.service?.keeps === true) for (const frame of frames) link.send(frame);
      } catch (error) {
        // The queue is full, or the link has ended: that node cannot take over the sockets, and gets no later frame
        // about them.
        debug("%s is not told of a lost node: %s", link.nodeName, error);
      }
  }

  /** The session of `link` is lost. If it was the home, the new home forwards the frames that the old one had not taken. */
  #lost(link: Link, untaken: readonly Untaken[]): void {
    const wasHome = link === this.#home;
    const again = wasHome ? untaken.filter(({ type }) => mayBeAgain(type)) : [];
    const { name } = link.view;
    this.#order(this.#planner.lost(link.view));
    const home = this.#home;
    if (home !== undefined)
      for (const { bytes, ref } of again) {
        home.send({ type: Type.Again, frame: bytes });
        this.requests.also(ref, home);
      }
    this.requests.lost(link, name, sessionLost());
  }

  #order(orders: readonly Order[]): void {
    const { alive, home } = this.#planner;
    this.#covering = alive.flatMap((view) => this.#links.get(view) ?? []);
    this.#only = this.#covering.length === 1 ? this.#covering[0] : undefined;
    this.#home = home && this.#links.get(home);
    for (const { view, frame } of orders) this.#links.get(view)?.send(frame);
  }

  clientsLost(link: Link): void {
    this.#emitSafely("session", link);
  }

  up(link: Link, session: "new" | "renewed" | "resumed"): void {
    link.view.up = true;
    const { state } = this;
    this.state = "up";
    if (state === "lost") this.#emitSafely("restored", session === "resumed");
    this.#connecting?.resolve(this);
    this.#connecting = undefined;
    this.#follow();
  }

  down(link: Link, cause: MoorageError): void {
    link.view.up = false;
    if (this.state === "up" && !this.#planner.up) {
      this.#downSince = performance.now();
      this.state = "lost";
      this.#emitSafely("lost", cause);
    }
    this.#follow();
  }

  listed(link: Link, frame: Nodes): void {
    this.#planner.listed(link.view, frame);
    this.#follow();
  }

  name(link: Link): string {
    return link.view.name || link.view.node;
  }

  /** Dials and drops links as the planner has decided. */
  #follow(): void {
    if (this.#closing !== undefined || this.state === "closed") return;
    const { dial, drop, gone } = this.#planner.steps();
    for (const view of drop) this.#drop(view, gone.has(view));
    for (const row of dial) this.#dial(this.#planner.add(row));
    for (const check of [...this.#waiting]) check();
  }

  #drop(view: NodeView, isGone = false): void {
    const link = this.#links.get(view);
    if (link === undefined) return;
    const untaken = [...link.untaken()];
    const { sessionId } = link;
    this.#lost(link, untaken);
    this.#planner.remove(view);
    this.#links.delete(view);
    if (isGone && sessionId !== "") this.#settle(view.node, sessionId, untaken);
    for (const frame of link.carriedTells()) this.#home?.send(frame);
    link.leave();
  }

  // --- the end -------------------------------------------------------------------------------------

  /** Once a link has been up, only the service itself can end it for good, and its reasons have numbers. Other answers
   * come from a proxy while the service restarts. A link among others only waits. */
  isFinal(link: Link, { retry, number }: MoorageError): boolean {
    if (this.#connecting !== undefined && !this.settings.retryFirst) return true;
    if (this.#planner.alive.some((view) => view !== link.view)) return false;
    return !retry && (!link.greeted || number !== 0);
  }

  finished(link: Link, cause: MoorageError | undefined): void {
    const isOver = this.#closing === undefined ? this.#links.has(link.view) : [...this.#links.values()].every(({ state }) => state === "closed");
    if (isOver) this.#finish(cause);
  }

  #finish(cause: MoorageError | undefined): void {
    if (this.state === "closed") return;
    this.state = "closed";
    for (const link of this.#links.values()) link.end(cause);
    this.requests.rejectAll(linkClosed(cause));
    this.#connecting?.reject(cause ?? linkClosed(undefined));
    for (const check of [...this.#waiting]) check();
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
  close(options: { drain?: number } = {}): Promise<void> {
    this.#closing ??= this.#close(options);
    return this.#closing;
  }

  async #close(options: { drain?: number }): Promise<void> {
    if (this.state === "closed") return;
    await Promise.all([...this.#links.values()].map((link) => link.close(options)));
  }

  /** Emits an event. A listener's error becomes an "error" event: this code runs in a callback of the WebSocket, where
   * an error would be taken for the peer's fault. */
  #emitSafely<Name extends keyof LinkEvents>(name: Name, ...args: LinkEvents[Name]): void {
    try {
      (this as EventEmitter).emit(name, ...args);
    } catch (error) {
      this.failed(error);
    }
  }

  /** Emits "error" in a microtask: the frames after this one are handled first, and without a listener the process
   * fails, as it does when a handler of socket.io throws. */
  failed(error: unknown): void {
    queueMicrotask(() => this.emit("error", error));
  }
}
