// Takes the place of engine.io's server below socket.io's server: clients come over the link.

import { EventEmitter } from "node:events";

import type { EngineOptions, Middleware } from "../internals.js";
import type { Report, Uplink } from "../uplink.js";
import { bytes, milliseconds } from "../quantities.js";
import { Type } from "../wire/frames.js";
import { callHandler } from "../uncaught.js";
import { admit, type Refusal } from "./admission.js";
import { Connection } from "./connection.js";
import { ClientRequest, type Handshake } from "./request.js";

/** engine.io's defaults. */
const DEFAULTS = { pingInterval: 25_000, pingTimeout: 20_000, maxHttpBufferSize: 1_000_000 };

export class Engine extends EventEmitter {
  readonly opts: EngineOptions & typeof DEFAULTS;
  readonly middlewares: Middleware[] = [];
  readonly #connections = new Map<number, Connection>();
  /** Clients whose middlewares still run. The request tells whether the number still means the same client. */
  readonly #admitting = new Map<number, ClientRequest>();
  #closing = false;

  /** `onClose` is called when socket.io closes the engine. */
  constructor(
    readonly uplink: Uplink,
    options: EngineOptions,
    private readonly report: Report,
    private readonly onClose: () => void,
  ) {
    super();
    const given = Object.entries(options).filter(([, value]) => value !== undefined);
    this.opts = { ...DEFAULTS, ...Object.fromEntries(given) };
  }

  get clientsCount(): number {
    return this.#connections.size;
  }

  /** By Engine.IO session id. */
  get clients(): Record<string, Connection> {
    return Object.fromEntries([...this.#connections.values()].map((connection) => [connection.id, connection]));
  }

  use(middleware: Middleware): void {
    this.middlewares.push(middleware);
  }

  connection(client: number): Connection | undefined {
    return this.#connections.get(client);
  }

  /** A client asks for a session. */
  open(client: number, id: string, user: string | null, handshake: string): void {
    // Not answered: when the link closes, the service gives the client to another app server.
    if (this.#closing) return;
    const request = new ClientRequest(JSON.parse(handshake) as Handshake, user);
    if (this.middlewares.length === 0 && !this.opts.allowRequest) {
      this.#accept(client, id, request);
      return;
    }
    this.#admitting.set(client, request);
    void admit(request, this.middlewares, this.opts.allowRequest).then((refusal) => {
      // The client is gone, or its session was lost.
      if (this.#admitting.get(client) !== request) return;
      this.#admitting.delete(client);
      try {
        if (refusal) this.#refuse(client, request, refusal);
        else this.#accept(client, id, request);
      } catch (error) {
        this.report(error as Error);
      }
    });
  }

  #accept(client: number, id: string, request: ClientRequest): void {
    const { opts } = this;
    const [pingInterval, pingTimeout] = [milliseconds(opts.pingInterval), milliseconds(opts.pingTimeout)];
    this.uplink.send({ type: Type.Opened, client, pingInterval, pingTimeout, maxPayload: bytes(opts.maxHttpBufferSize) });
    const connection = new Connection(this, client, id, request);
    this.#connections.set(client, connection);
    this.emit("connection", connection);
  }

  #refuse(client: number, request: ClientRequest, { status, code, message, clientMessage, context }: Refusal): void {
    this.uplink.send({ type: Type.Refused, client, status, message: clientMessage });
    this.emit("connection_error", { req: request, code, message, context });
  }

  /** The service has closed a client. */
  closed(client: number, cause: string, details: { number: number; reason: string }): void {
    this.#admitting.delete(client);
    const description = { description: details.reason, context: details };
    this.#connections.get(client)?.endSoon(cause, description);
  }

  /** Ends all connections. */
  closeAll(cause: string): void {
    this.#admitting.clear();
    for (const connection of [...this.#connections.values()]) callHandler(() => connection.end(cause));
  }

  forget(connection: Connection): void {
    this.#connections.delete(connection.client);
  }

  /** Called when socket.io's server is closed. The service closes the clients when the link closes. */
  close(): this {
    this.#closing = true;
    this.closeAll("forced close");
    this.onClose();
    return this;
  }
}
