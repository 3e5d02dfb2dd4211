// The object that `useMoorage` returns: the link's events, and a graceful shutdown.

import { EventEmitter } from "node:events";
import createDebug from "debug";
import type { DefaultEventsMap } from "socket.io";

import type { Engine } from "./engine/engine.js";
import type { AnyServer } from "./server/internals.js";
import type { Fleet } from "./link/fleet.js";
import type { NodeInfo } from "./link/types.js";
import { clientAddress, type Target } from "./options.js";
import { milliseconds } from "./quantities.js";
import { Type } from "./wire/frames.js";
import { MoorageError } from "./wire/errors.js";

const debug = createDebug("moorage");

/** Milliseconds to wait for queued emits when the server is closed. */
const CLOSE_DRAIN = 2_000;
/** Revision of the link protocol from which clients can be handed over. */
const HAND_OVER = 5;
/** Milliseconds to wait for the answers of handlers whose client another app server serves already. */
const LATE_ANSWERS = 5_000;
/** Milliseconds between two checks whether all clients have left. */
const CHECK_INTERVAL = 50;

/** The events of a `Moorage`, with the arguments of their listeners. */
export interface MoorageEvents {
  /** A failure of an operation whose result nothing waits for: an un-awaited join, an emit that the service refused, a
   * listener of `serverSideEmit`. Without a listener, the first error of each kind is logged. */
  error: [error: Error];
  /** The link broke. It reconnects automatically; meanwhile emits are queued. */
  lost: [cause: Error];
  /** The link is up again. `resumed` false: the service had closed the clients, and they connect again. */
  restored: [resumed: boolean];
  /** The service stops in `seconds`. */
  drain: [seconds: number];
  /** The link is closed for good: with the error that ended it, or undefined after `close`. */
  closed: [cause: Error | undefined];
}

/** What `handOver` resolves with. */
export interface HandedOver {
  /** Number of clients that this app server does not serve any more. */
  readonly moved: number;
  /** Connection ids of clients that no other app server has taken, and names of nodes that did not answer. */
  readonly missing: readonly string[];
}

/** A Socket.IO server's connection to a service: what `useMoorage` resolves with. */
export class Moorage extends EventEmitter<MoorageEvents> {
  /** The hub that this app server serves. */
  readonly hub: string;
  /** Where clients connect: `io(moorage.clientUrl, { path: moorage.clientPath })`. */
  readonly clientUrl: string;
  /** The path at which clients connect; see `clientUrl`. */
  readonly clientPath: string;
  readonly #logged = new Set<string>();
  #closing: Promise<void> | undefined;

  /** Created by `useMoorage`.
   * @internal */
  constructor(
    private readonly io: AnyServer,
    private readonly fleet: Fleet,
    private readonly engine: Engine,
    target: Target,
    private readonly log: (line: string) => void,
  ) {
    super();
    this.hub = target.hub;
    ({ url: this.clientUrl, path: this.clientPath } = clientAddress(target));
    fleet.on("lost", (cause) => this.#lost(cause));
    fleet.on("restored", (resumed) => this.#restored(resumed));
    fleet.on("session", (link) => engine.lost(link));
    fleet.on("closed", (cause) => this.#closed(cause));
    fleet.on("error", (error) => this.report(error));
  }

  /** This app server's id in the hub. */
  get serverId(): string {
    return this.fleet.serverId;
  }

  /** The nodes of the service with which this app server is connected. */
  get nodes(): readonly NodeInfo[] {
    return this.fleet.nodes;
  }

  /** True while a link is up. */
  get connected(): boolean {
    return this.fleet.state === "up";
  }

  /** Number of clients that this app server serves. */
  get clientsCount(): number {
    return this.engine.clientsCount;
  }

  /** Bytes of emits that wait to be sent to the slowest node. */
  get queuedBytes(): number {
    return this.fleet.queuedBytes;
  }

  /** Shuts down: takes no new clients, waits up to `drain` ms (default 0) for the present ones to leave, then closes
   * the Socket.IO server. The remaining clients reconnect to other app servers. */
  async close({ drain = 0 }: { drain?: number } = {}): Promise<void> {
    if (!this.#closing && drain > 0) {
      const time = milliseconds(drain);
      this.#refuseClients(time);
      await this.#waitForClients(time);
    }
    await this.io.close();
  }

  /** Gives all clients to other app servers of the hub. The clients stay connected and notice nothing; there, the
   * "connection" listeners run, and `socket.handedOver` is true. Resolves when all have left, or could not. This app
   * server gets no new clients from now on. Rejects if the service is too old. */
  async handOver(): Promise<HandedOver> {
    if ((this.fleet.service?.revision ?? 0) < HAND_OVER) {
      throw new MoorageError("revision", "handOver: this version of the service cannot hand clients over");
    }
    const { count, missing } = await this.fleet.request((ref) => ({ type: Type.HandOver, ref }));
    const end = Date.now() + LATE_ANSWERS;
    while (this.engine.unanswered > 0 && Date.now() < end) await new Promise((resolve) => setTimeout(resolve, CHECK_INTERVAL));
    return { moved: count, missing };
  }

  /** Errors are ignored: a closed link or a full queue must not keep the server from closing. */
  #refuseClients(drain: number): void {
    try {
      this.fleet.send({ type: Type.Drain, seconds: drain / 1000 });
    } catch (error) {
      debug("no drain: %O", error);
    }
  }

  #waitForClients(limit: number): Promise<void> {
    const end = Date.now() + limit;
    return new Promise((resolve) => {
      const check = (): void => {
        if (this.clientsCount === 0 || Date.now() >= end) resolve();
        else setTimeout(check, CHECK_INTERVAL);
      };
      check();
    });
  }

  /** Called when the Socket.IO server is being closed.
   * @internal */
  end(): Promise<void> {
    // Emits of this turn's "disconnect" handlers are still sent.
    this.#closing ??= new Promise((resolve, reject) => {
      setImmediate(() => this.fleet.close({ drain: CLOSE_DRAIN }).then(resolve, reject));
    });
    return this.#closing;
  }

  /** True when the server and the link are closed.
   * @internal */
  get isClosed(): boolean {
    return this.#closing !== undefined && this.fleet.state === "closed";
  }

  /** Handles an error that no caller waits for.
   * @internal */
  readonly report = (thrown: unknown): void => {
    const error = thrown instanceof Error ? thrown : new Error(String(thrown), { cause: thrown });
    debug("error: %O", error);
    // Requests that were pending when the app server itself closed the link.
    if (this.#closing && error instanceof MoorageError && error.reason === "link-closed") return;
    if (this.listenerCount("error") > 0) {
      this.emit("error", error);
      return;
    }
    const kind = error instanceof MoorageError ? error.reason : error.message;
    if (this.#logged.has(kind)) return;
    this.#logged.add(kind);
    this.log(`${error.message} (logged once; listen for "error" on the object that useMoorage returns to get all errors)`);
  };

  #lost(cause: Error): void {
    debug("lost: %s", cause.message);
    if (!this.emit("lost", cause)) this.log(`lost the link, reconnecting. ${cause.message}`);
  }

  #restored(resumed: boolean): void {
    debug("restored, resumed: %s", resumed);
    const how = resumed ? "nothing was lost" : "clients connect again";
    if (!this.emit("restored", resumed)) this.log(`restored the link to ${this.clientUrl}; ${how}`);
  }

  #closed(cause: Error | undefined): void {
    this.engine.closeAll("server shutting down");
    if (cause) this.report(cause);
    this.emit("closed", cause);
  }
}

declare module "socket.io" {
  // The type parameters must repeat socket.io's own declaration exactly.
  interface Socket<
    ListenEvents extends { [event: string]: any } = DefaultEventsMap,
    EmitEvents extends { [event: string]: any } = ListenEvents,
    ServerSideEvents extends { [event: string]: any } = DefaultEventsMap,
    SocketData = any,
  > {
    /** True if another app server has handed the client over to this one. Its rooms and its data are there. */
    handedOver: boolean;
  }
}
