// The clients of one link. Clients of other links may have the same numbers.

import type { ClientLink } from "../link/types.js";
import { type FromApp, type Save, Type } from "../wire/frames.js";
import { callHandler } from "../uncaught.js";
import type { Refusal } from "./admission.js";
import { Connection } from "./connection.js";
import { ClientRequest, type Handshake } from "./request.js";
import type { Restorations } from "./restoration.js";

/** The parts of the engine that its clients use. */
export interface ClientsOwner {
  /** For what goes to all nodes. */
  readonly uplink: { sendVolatile(frame: FromApp): boolean };
  readonly restorations: Restorations;
  /** True when socket.io has closed the engine. */
  readonly closing: boolean;
  /** The limits for new clients. */
  terms(): { pingInterval: number; pingTimeout: number; maxPayload: number };
  /** Runs the app's middlewares; undefined if there are none. */
  admit(request: ClientRequest): Promise<Refusal | undefined> | undefined;
  /** Closes these too, from now on, when their session is lost. */
  keep(clients: Clients): void;
  /** Passes a new connection to socket.io. */
  accepted(connection: Connection): void;
  refused(request: ClientRequest, refusal: Refusal): void;
  report(error: Error): void;
}

export class Clients {
  readonly #connections = new Map<number, Connection>();
  /** Clients whose middlewares still run. The request tells whether the number still means the same client. */
  readonly #admitting = new Map<number, ClientRequest>();

  constructor(
    private readonly engine: ClientsOwner,
    readonly link: ClientLink,
  ) {}

  get size(): number {
    return this.#connections.size;
  }

  all(): Iterable<Connection> {
    return this.#connections.values();
  }

  get(client: number): Connection | undefined {
    return this.#connections.get(client);
  }

  /** A client asks for a session. */
  open(client: number, id: string, user: string | null, handshake: string): void {
    const { engine } = this;
    // Not answered: when the link closes, the service gives the client to another app server.
    if (engine.closing) return;
    engine.keep(this);
    const request = new ClientRequest(JSON.parse(handshake) as Handshake, user);
    const admission = engine.admit(request);
    if (admission === undefined) {
      this.#accept(client, id, request);
      return;
    }
    this.#admitting.set(client, request);
    void admission.then((refusal) => {
      // The client is gone, or its session was lost.
      if (this.#admitting.get(client) !== request) return;
      this.#admitting.delete(client);
      try {
        if (refusal) this.#refuse(client, request, refusal);
        else this.#accept(client, id, request);
      } catch (error) {
        engine.report(error as Error);
      }
    });
  }

  #accept(client: number, id: string, request: ClientRequest): void {
    this.link.send({ type: Type.Opened, client, ...this.engine.terms() });
    const connection = new Connection(this.engine, this, client, id, request);
    this.#connections.set(client, connection);
    this.engine.accepted(connection);
  }

  #refuse(client: number, request: ClientRequest, refusal: Refusal): void {
    const { status, clientMessage } = refusal;
    this.link.send({ type: Type.Refused, client, status, message: clientMessage });
    this.engine.refused(request, refusal);
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

  /** Sends what the service keeps of sockets that may come back. */
  save(frames: readonly (() => Save)[]): void {
    if (!this.link.recovers) return;
    try {
      for (const frame of frames) this.link.send(frame());
    } catch (error) {
      // The queue is full, or the link has ended: these sockets will not come back.
      this.engine.report(error as Error);
    }
  }

  forget(connection: Connection): void {
    this.#connections.delete(connection.client);
  }
}
