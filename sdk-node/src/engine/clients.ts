// The clients of one link. Clients of other links may have the same numbers.

import type { ClientLink } from "../link/types.js";
import { type FromApp, type Save, Type } from "../wire/frames.js";
import { callHandler } from "../server/uncaught.js";
import type { Refusal } from "./admission.js";
import { Connection } from "./connection.js";
import { ClientRequest, type Handshake } from "./request.js";
import type { Restorations } from "./restoration.js";

/** The parts of the engine that its clients use. */
export interface ClientsOwner {
  /** For frames to all nodes. */
  readonly uplink: { sendVolatile(frame: FromApp): boolean; sendToKeepers(frame: FromApp): void };
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
  /** True while the connections of a lost session are being ended. */
  losing = false;
  readonly #released = new Map<number, Connection>();
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
    const { pingInterval, pingTimeout, maxPayload } = this.engine.terms();
    this.link.send({ type: Type.Opened, client, pingInterval, pingTimeout, maxPayload });
    const connection = new Connection(this.engine, this, client, id, request);
    this.#connections.set(client, connection);
    this.engine.accepted(connection);
  }

  /** A client that another app server has served. `make` makes its sockets, and resolves with false if it cannot. */
  adopt(
    client: number,
    id: string,
    user: string | null,
    handshake: string,
    transport: string,
    make: (connection: Connection) => Promise<boolean>,
  ): void {
    const { engine } = this;
    engine.keep(this);
    const connection = new Connection(engine, this, client, id, new ClientRequest(JSON.parse(handshake) as Handshake, user));
    connection.adopt(transport, () => this.link.send({ type: Type.Opened, client, ...engine.terms() }));
    this.#connections.set(client, connection);
    engine.accepted(connection);
    const refuse = (): void => {
      // The service may have closed the client meanwhile.
      if (connection.readyState !== "open") return;
      this.link.send({ type: Type.Refused, client, status: 503, message: "" });
      connection.end("forced close");
    };
    const adopted = engine.closing ? Promise.resolve(false) : make(connection);
    void adopted
      .then((made) => {
        if (!made) return refuse();
        connection.adopted();
      })
      .catch((error: unknown) => {
        engine.report(error as Error);
        refuse();
      });
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

  /** A client that another app server serves now. Acks for this one may still come. */
  released(client: number): Connection | undefined {
    return this.#released.get(client);
  }

  release(connection: Connection): void {
    connection.release();
    this.forget(connection);
    this.#released.set(connection.client, connection);
  }

  /** How many handlers of released clients have not answered their event. */
  get unanswered(): number {
    let count = 0;
    for (const connection of this.#released.values()) count += connection.unanswered;
    return count;
  }

  /** The session is lost: ends all connections. */
  lost(): void {
    this.losing = true;
    try {
      this.closeAll("transport close");
    } finally {
      this.losing = false;
    }
  }

  /** Ends all connections. */
  closeAll(cause: string): void {
    this.#released.clear();
    this.#admitting.clear();
    for (const connection of [...this.#connections.values()]) callHandler(() => connection.end(cause));
  }

  /** Sends the data that the service keeps of sockets that may come back, then packets about the others. */
  save(frames: Iterable<() => Save>, packets: readonly FromApp[]): void {
    if (!this.link.recovers) return;
    if (this.losing) {
      for (const frame of frames) this.engine.uplink.sendToKeepers(frame());
      return;
    }
    try {
      for (const frame of frames) this.link.send(frame());
      for (const packet of packets) this.link.send(packet);
    } catch (error) {
      // The queue is full, or the link has ended: these sockets will not come back.
      this.engine.report(error as Error);
    }
  }

  forget(connection: Connection): void {
    this.#connections.delete(connection.client);
  }
}
