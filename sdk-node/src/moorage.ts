// What `useMoorage` gives: the link's events, and a graceful end.

import { EventEmitter } from "node:events";
import createDebug from "debug";

import type { Engine } from "./engine/engine.js";
import type { AnyServer } from "./internals.js";
import type { Link } from "./link/link.js";
import { clientAddress, type Target } from "./options.js";
import { milliseconds } from "./quantities.js";
import { Type } from "./wire/frames.js";
import { MoorageError } from "./wire/errors.js";

const debug = createDebug("moorage");

/** Milliseconds for the last emits to get through when the server is closed. */
const FAREWELL = 2_000;
const LOOK = 50;

export interface MoorageEvents {
  /** What failed without a caller who waits for it: an un-awaited join, an emit that the service refused, a
   * listener of `serverSideEmit`. Without a listener the first of each kind is logged. */
  error: [error: Error];
  /** The link broke. It is made again by itself; meanwhile emits wait in it. */
  lost: [cause: Error];
  /** It is back. `resumed` false: the service had given the clients up, they connect anew. */
  restored: [resumed: boolean];
  /** The service stops in so many seconds. */
  drain: [seconds: number];
  /** The end, with the error that made it, unless `close` did. */
  closed: [cause: Error | undefined];
}

export class Moorage extends EventEmitter<MoorageEvents> {
  readonly hub: string;
  /** Where clients connect: `io(moorage.clientUrl, { path: moorage.clientPath })`. */
  readonly clientUrl: string;
  readonly clientPath: string;
  readonly #logged = new Set<string>();
  #ending: Promise<void> | undefined;

  /** Made by `useMoorage`. */
  constructor(
    private readonly io: AnyServer,
    private readonly link: Link,
    private readonly engine: Engine,
    target: Target,
    private readonly log: (line: string) => void,
  ) {
    super();
    this.hub = target.hub;
    ({ url: this.clientUrl, path: this.clientPath } = clientAddress(target));
    link.on("lost", (cause) => this.#lost(cause));
    link.on("restored", (resumed) => this.#restored(resumed));
    link.on("session", () => engine.closeAll("transport close"));
    link.on("closed", (cause) => this.#closed(cause));
    link.on("error", (error) => this.report(error));
  }

  /** This app server's id in the hub. */
  get serverId(): string {
    return this.link.serverId;
  }

  /** Is the link up now? */
  get connected(): boolean {
    return this.link.state === "up";
  }

  /** Clients that this app server serves. */
  get clientsCount(): number {
    return this.engine.clientsCount;
  }

  /** Bytes of emits that wait to be sent. */
  get queuedBytes(): number {
    return this.link.queuedBytes;
  }

  /** Stop: takes no new clients, waits up to `drain` ms (default 0) for those that are here to leave, then
   * closes the Socket.IO server. The clients reconnect to other app servers. */
  async close({ drain = 0 }: { drain?: number } = {}): Promise<void> {
    if (!this.#ending && drain > 0) {
      const time = milliseconds(drain);
      this.#announce(time);
      await this.#emptied(time);
    }
    await this.io.close();
  }

  /** That the link has ended, or that its queue is full, must not keep the server from closing. */
  #announce(drain: number): void {
    try {
      this.link.send({ type: Type.Drain, seconds: drain / 1000 });
    } catch (error) {
      debug("no drain: %O", error);
    }
  }

  #emptied(limit: number): Promise<void> {
    const end = Date.now() + limit;
    return new Promise((resolve) => {
      const look = (): void => {
        if (this.clientsCount === 0 || Date.now() >= end) resolve();
        else setTimeout(look, LOOK);
      };
      look();
    });
  }

  /** The Socket.IO server is being closed.
   * @internal */
  end(): Promise<void> {
    // What the "disconnect" handlers of this turn emit shall still go out.
    this.#ending ??= new Promise((resolve, reject) => {
      setImmediate(() => this.link.close({ drain: FAREWELL }).then(resolve, reject));
    });
    return this.#ending;
  }

  /** The server was closed, and the link is gone.
   * @internal */
  get over(): boolean {
    return this.#ending !== undefined && this.link.state === "closed";
  }

  /** Takes an error that no caller waits for.
   * @internal */
  readonly report = (thrown: unknown): void => {
    const error = thrown instanceof Error ? thrown : new Error(String(thrown), { cause: thrown });
    debug("error: %O", error);
    // What was asked and is not answered when the app server itself ends.
    if (this.#ending && error instanceof MoorageError && error.reason === "link-closed") return;
    if (this.listenerCount("error") > 0) {
      this.emit("error", error);
      return;
    }
    const kind = error instanceof MoorageError ? error.reason : error.message;
    if (this.#logged.has(kind)) return;
    this.#logged.add(kind);
    this.log(`${error.message} (logged once; listen to "error" on what useMoorage returns to hear all)`);
  };

  #lost(cause: Error): void {
    debug("lost: %s", cause.message);
    if (!this.emit("lost", cause)) this.log(`the link to ${this.clientUrl} is lost: ${cause.message}; trying again`);
  }

  #restored(resumed: boolean): void {
    debug("restored, resumed: %s", resumed);
    const how = resumed ? "nothing was lost" : "clients connect anew";
    if (!this.emit("restored", resumed)) this.log(`the link to ${this.clientUrl} is back; ${how}`);
  }

  #closed(cause: Error | undefined): void {
    this.engine.closeAll("server shutting down");
    if (cause) this.report(cause);
    this.emit("closed", cause);
  }
}
