// Takes the place of engine.io's server below socket.io's server: clients come over the links.

import { EventEmitter } from "node:events";

import type { EngineOptions, Middleware } from "../server/internals.js";
import type { ClientLink } from "../link/types.js";
import type { Report, Uplink } from "../uplink.js";
import { bytes, milliseconds } from "../quantities.js";
import { admit, type Refusal } from "./admission.js";
import type { Clients, ClientsOwner } from "./clients.js";
import type { Connection } from "./connection.js";
import type { ClientRequest } from "./request.js";
import type { Restorations } from "./restoration.js";

/** engine.io's defaults. */
const DEFAULTS = { pingInterval: 25_000, pingTimeout: 20_000, maxHttpBufferSize: 1_000_000 };

export class Engine extends EventEmitter implements ClientsOwner {
  readonly opts: EngineOptions & typeof DEFAULTS;
  readonly middlewares: Middleware[] = [];
  readonly restorations: Restorations = new Map();
  /** Those that have clients, or have had some. */
  readonly #clients = new Map<ClientLink, Clients>();
  closing = false;

  /** `onClose` is called when socket.io closes the engine. */
  constructor(
    readonly uplink: Uplink,
    options: EngineOptions,
    readonly report: Report,
    private readonly onClose: () => void,
  ) {
    super();
    const given = Object.entries(options).filter(([, value]) => value !== undefined);
    this.opts = { ...DEFAULTS, ...Object.fromEntries(given) };
  }

  get clientsCount(): number {
    let count = 0;
    for (const { size } of this.#clients.values()) count += size;
    return count;
  }

  /** How many handlers of clients that were handed over have not answered their event. */
  get unanswered(): number {
    let count = 0;
    for (const clients of this.#clients.values()) count += clients.unanswered;
    return count;
  }

  /** By Engine.IO session id. */
  get clients(): Record<string, Connection> {
    const all = [...this.#clients.values()].flatMap((clients) => [...clients.all()]);
    return Object.fromEntries(all.map((connection) => [connection.id, connection]));
  }

  /** These have clients from now on. */
  keep(clients: Clients): void {
    this.#clients.set(clients.link, clients);
  }

  /** The session of a link is lost: ends its connections. */
  lost(link: ClientLink): void {
    const clients = this.#clients.get(link);
    this.#clients.delete(link);
    clients?.lost();
  }

  use(middleware: Middleware): void {
    this.middlewares.push(middleware);
  }

  terms(): { pingInterval: number; pingTimeout: number; maxPayload: number } {
    const { pingInterval, pingTimeout, maxHttpBufferSize } = this.opts;
    return { pingInterval: milliseconds(pingInterval), pingTimeout: milliseconds(pingTimeout), maxPayload: bytes(maxHttpBufferSize) };
  }

  admit(request: ClientRequest): Promise<Refusal | undefined> | undefined {
    if (this.middlewares.length === 0 && !this.opts.allowRequest) return undefined;
    return admit(request, this.middlewares, this.opts.allowRequest);
  }

  accepted(connection: Connection): void {
    this.emit("connection", connection);
  }

  refused(request: ClientRequest, { code, message, context }: Refusal): void {
    this.emit("connection_error", { req: request, code, message, context });
  }

  /** Ends all connections. */
  closeAll(cause: string): void {
    for (const clients of this.#clients.values()) clients.closeAll(cause);
  }

  /** Called when socket.io's server is closed. The service closes the clients when the links close. */
  close(): this {
    this.closing = true;
    this.closeAll("forced close");
    this.onClose();
    return this;
  }
}
