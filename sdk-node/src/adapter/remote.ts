// A socket that another app server serves, as `fetchSockets` gives it: socket.io's `RemoteSocket`, but for
// what costs. Ten thousand of them come in one answer, and few are ever looked into or emitted to, so
// everything but the id is decoded when first asked for.

import { inspect } from "node:util";
import type { BroadcastOperator, Socket } from "socket.io";

import { type Handshake, headersOf, queryOf } from "../engine/request.js";
import type { AnyNamespace, AnyServer } from "../internals.js";
import type { Row } from "../wire/frames.js";
import type { ToldFacts } from "./facts.js";

type Operator = BroadcastOperator<any, any>;
type NativeHandshake = Socket["handshake"];

export class ClusterSocket {
  readonly id: string;
  readonly #namespace: AnyNamespace;
  readonly #row: Row;
  #told: ToldFacts | undefined;
  /** Its place among those told of. */
  #at = 0;
  #data: unknown;
  #rooms: Set<string> | undefined;
  #handshake: NativeHandshake | undefined;
  #operator: Operator | undefined;

  constructor(namespace: AnyNamespace, row: Row) {
    this.#namespace = namespace;
    this.#row = row;
    this.id = row.id;
  }

  /** What the socket's own app server knows of it is at place `at` of `told`. */
  learn(told: ToldFacts, at: number): void {
    this.#told = told;
    this.#at = at;
  }

  get data(): any {
    if (this.#data === undefined) {
      const data = this.#told?.at(this.#at).data;
      this.#data = data === undefined ? {} : data;
    }
    return this.#data;
  }

  set data(value: any) {
    this.#data = value;
  }

  get rooms(): Set<string> {
    // The private room is not listed.
    return (this.#rooms ??= new Set(this.#row.rooms).add(this.id));
  }

  /** Whom the client's access token names. */
  get userId(): string | null {
    return this.#row.user;
  }

  get handshake(): NativeHandshake {
    return (this.#handshake ??= nativeHandshake(this.#row, this.#told?.at(this.#at).auth));
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
function nativeHandshake(row: Row, auth: unknown): NativeHandshake {
  const known = row.handshake ? (JSON.parse(row.handshake) as Handshake) : { headers: {}, query: {}, claims: {} };
  const issued = known.issued ?? row.opened;
  return {
    headers: headersOf(known),
    // Costs half as much as all the rest, and is the last thing that anybody reads.
    get time() {
      return `${new Date(issued)}`;
    },
    address: known.address ?? "",
    xdomain: Boolean(known.headers["origin"]?.length),
    secure: known.secure ?? false,
    issued,
    url: known.url ?? "",
    query: queryOf(known),
    auth: (auth ?? {}) as NativeHandshake["auth"],
  };
}
