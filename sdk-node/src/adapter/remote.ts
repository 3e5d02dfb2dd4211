// A socket that another app server serves, as `fetchSockets` gives it: socket.io's `RemoteSocket`, but for
// what costs. Ten thousand of them come in one answer, and few are ever looked into or emitted to, so
// the handshake is decoded and the operator built when first asked for.

import { inspect } from "node:util";
import type { BroadcastOperator, Socket } from "socket.io";

import { type Handshake, headersOf, queryOf } from "../engine/request.js";
import type { AnyNamespace, AnyServer } from "../internals.js";
import type { Row } from "../wire/frames.js";

type Operator = BroadcastOperator<any, any>;
type NativeHandshake = Socket["handshake"];

export class ClusterSocket {
  readonly id: string;
  readonly rooms: Set<string>;
  data: any = {};
  readonly #namespace: AnyNamespace;
  readonly #row: Row;
  #auth: Record<string, unknown> = {};
  #handshake: NativeHandshake | undefined;
  #operator: Operator | undefined;

  constructor(namespace: AnyNamespace, row: Row) {
    this.#namespace = namespace;
    this.#row = row;
    this.id = row.id;
    // The private room is not listed.
    this.rooms = new Set(row.rooms).add(row.id);
  }

  /** What the socket's own app server knows of it: JSON. */
  learn(facts: string): void {
    const { data, auth } = JSON.parse(facts) as { data?: unknown; auth?: Record<string, unknown> };
    if (data !== undefined) this.data = data;
    if (auth !== undefined) this.#auth = auth;
  }

  /** Whom the client's access token names. */
  get userId(): string | null {
    return this.#row.user;
  }

  get handshake(): NativeHandshake {
    return (this.#handshake ??= nativeHandshake(this.#row, this.#auth));
  }

  /** The one that found it. socket.io leaves sockets that have a server as they are. */
  get server(): AnyServer {
    return this.#namespace.server;
  }

  get #to(): Operator {
    if (!this.#operator) {
      this.#operator = this.#namespace.in(this.id);
      // One socket answers: its answer, not a list of one.
      (this.#operator as unknown as { flags: Record<string, unknown> }).flags["expectSingleResponse"] = true;
    }
    return this.#operator;
  }

  timeout(ms: number): Operator {
    return this.#to.timeout(ms) as Operator;
  }

  emit(event: string, ...args: any[]): boolean {
    return this.#to.emit(event, ...args);
  }

  join(room: string | string[]): void {
    this.#to.socketsJoin(room);
  }

  leave(room: string): void {
    this.#to.socketsLeave(room);
  }

  disconnect(close = false): this {
    this.#to.disconnectSockets(close);
    return this;
  }

  [inspect.custom](): unknown {
    const { id, handshake, rooms, data } = this;
    return { id, handshake, rooms, data };
  }
}

/** As socket.io's own sockets have it. */
function nativeHandshake(row: Row, auth: Record<string, unknown>): NativeHandshake {
  const known = row.handshake ? (JSON.parse(row.handshake) as Handshake) : { headers: {}, query: {}, claims: {} };
  const issued = known.issued ?? row.opened;
  return {
    headers: headersOf(known),
    time: `${new Date(issued)}`,
    address: known.address ?? "",
    xdomain: Boolean(known.headers["origin"]?.length),
    secure: known.secure ?? false,
    issued,
    url: known.url ?? "",
    query: queryOf(known),
    auth,
  };
}
