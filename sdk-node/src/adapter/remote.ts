// A socket that another app server serves, as `fetchSockets` gives it: socket.io's `RemoteSocket`, but for
// what costs. Ten thousand of them come in one answer, and few are ever looked into or emitted to, so
// everything is decoded when first asked for.

import type { IncomingHttpHeaders } from "node:http";
import { inspect } from "node:util";

import type { BroadcastOperator, Socket } from "socket.io";

import { type Handshake, headersOf, queryOf } from "../engine/request.js";
import type { AnyNamespace, AnyServer } from "../internals.js";
import { put } from "../named.js";
import type { Headers, Row, Rows } from "../wire/frames.js";
import type { Facts, ServerFacts } from "./facts.js";

type Operator = BroadcastOperator<any, any>;
type NativeHandshake = Socket["handshake"];

/** A part of a fetch's answer, all of one app server's sockets. */
export interface Listed {
  readonly namespace: AnyNamespace;
  readonly rows: Rows;
  readonly headers: SharedHeaders;
  readonly facts: ServerFacts;
  /** The place of the first row among all of that app server's. */
  readonly first: number;
}

/** The headers that rows of one frame have in common, read when one of them is looked into. */
export class SharedHeaders {
  readonly #unread: readonly Headers[];
  #read: Map<number, Entries> | undefined;

  constructor(headers: readonly Headers[]) {
    this.#unread = headers;
  }

  of(number: number): Entries {
    this.#read ??= new Map(
      this.#unread.map(({ number, headers }) => [number, Object.entries(headersOf({ headers: JSON.parse(headers) }))]),
    );
    return this.#read.get(number) ?? NONE;
  }
}

/** Name and value of each header: put together once, and not for each socket. */
type Entries = readonly (readonly [string, IncomingHttpHeaders[string]])[];
const NONE: Entries = [];

/** What has been looked at. */
interface Seen {
  id?: string;
  data?: unknown;
  rooms?: Set<string>;
  handshake?: NativeHandshake;
  operator?: Operator;
}

export class ClusterSocket {
  // Few and small: they are most of what a fetch leaves behind for the garbage collector.
  readonly #listed: Listed;
  readonly #at: number;
  #seen: Seen | undefined;

  constructor(listed: Listed, at: number) {
    this.#listed = listed;
    this.#at = at;
  }

  get #row(): Row {
    return this.#listed.rows.at(this.#at) as Row;
  }

  /** What the socket's own app server told of it. */
  get #facts(): Facts {
    return this.#listed.facts.at(this.#listed.first + this.#at);
  }

  get #noted(): Seen {
    return (this.#seen ??= {});
  }

  get id(): string {
    return (this.#noted.id ??= this.#row.id);
  }

  get data(): any {
    const seen = this.#noted;
    if (seen.data === undefined) {
      const { data } = this.#facts;
      seen.data = data === undefined ? {} : data;
    }
    return seen.data;
  }

  set data(value: any) {
    this.#noted.data = value;
  }

  get rooms(): Set<string> {
    // The private room is not listed.
    return (this.#noted.rooms ??= new Set(this.#row.rooms).add(this.id));
  }

  /** Whom the client's access token names. */
  get userId(): string | null {
    return this.#row.user;
  }

  get handshake(): NativeHandshake {
    return (this.#noted.handshake ??= nativeHandshake(this.#row, this.#listed.headers, this.#facts.auth));
  }

  /** The one that found it. socket.io leaves sockets that have a server as they are. */
  get server(): AnyServer {
    return this.#listed.namespace.server;
  }

  get #to(): Operator {
    const seen = this.#noted;
    if (!seen.operator) {
      seen.operator = this.#listed.namespace.in(this.id);
      // One socket answers: its answer, not a list of one.
      (seen.operator as unknown as { flags: Record<string, unknown> }).flags["expectSingleResponse"] = true;
    }
    return seen.operator;
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
function nativeHandshake(row: Row, shared: SharedHeaders, auth: unknown): NativeHandshake {
  const known = row.handshake ? (JSON.parse(row.handshake) as Handshake) : { headers: {}, query: {}, claims: {} };
  const issued = known.issued ?? row.opened;
  const headers = headersOf(known);
  // Not `{ ...shared, ...own }`, which took longer than reading the JSON (4 us, this less than 1).
  for (const [name, value] of shared.of(row.shared)) put(headers, name, value);
  return {
    headers,
    time: dateText(issued),
    address: known.address ?? "",
    xdomain: Boolean(headers.origin),
    secure: known.secure ?? false,
    issued,
    url: known.url ?? "",
    query: queryOf(known),
    auth: (auth ?? {}) as NativeHandshake["auth"],
  };
}

const MOST_WRITTEN = 1_000;
const written = new Map<number, string>();

/** A date as JavaScript writes it, to the second: that takes 3 us, and many sockets connect in the same. */
export function dateText(issued: number): string {
  const second = Math.floor(issued / 1000);
  let known = written.get(second);
  if (known === undefined) {
    if (written.size >= MOST_WRITTEN) written.clear();
    written.set(second, (known = `${new Date(issued)}`));
  }
  return known;
}
