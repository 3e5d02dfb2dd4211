// A socket of another app server, as `fetchSockets` returns it: a cheaper `RemoteSocket` of socket.io. One answer may
// contain ten thousand of them, and apps look at few, so everything is decoded on first access.

import type { IncomingHttpHeaders } from "node:http";
import { inspect } from "node:util";

import type { BroadcastOperator, Socket } from "socket.io";

import { type Handshake, headersOf, queryOf } from "../engine/request.js";
import type { AnyNamespace, AnyServer } from "../server/internals.js";
import { setKey } from "../safe-keys.js";
import type { Headers, Row, Rows } from "../wire/frames.js";
import type { Facts, ServerFacts } from "./facts.js";

type Operator = BroadcastOperator<any, any>;
type NativeHandshake = Socket["handshake"];

/** Sockets of one app server: a part of the answer to a fetch. */
interface FetchedRows {
  readonly namespace: AnyNamespace;
  readonly rows: Rows;
  readonly headers: SharedHeaders;
  readonly facts: ServerFacts;
  /** The index of the first row among all sockets of that app server. */
  readonly first: number;
}

/** The headers that rows of one frame have in common, parsed on first access. */
export class SharedHeaders {
  readonly #encoded: readonly Headers[];
  #parsed: Map<number, Entries> | undefined;

  constructor(headers: readonly Headers[]) {
    this.#encoded = headers;
  }

  of(number: number): Entries {
    this.#parsed ??= new Map(this.#encoded.map(({ number, headers }) => [number, entriesOf(headers)]));
    return this.#parsed.get(number) ?? NONE;
  }
}

/** Name and value of each header: built once for all sockets. Two lists, because a loop over pairs makes objects. */
interface Entries {
  readonly names: readonly string[];
  readonly values: readonly IncomingHttpHeaders[string][];
}

const NONE: Entries = { names: [], values: [] };

function entriesOf(headers: string): Entries {
  const joined = headersOf({ headers: JSON.parse(headers) });
  return { names: Object.keys(joined), values: Object.values(joined) };
}

/** Values that have been decoded. */
interface Decoded {
  id?: string;
  data?: unknown;
  rooms?: Set<string>;
  handshake?: NativeHandshake;
  operator?: Operator;
}

export class ClusterSocket {
  // Few and small fields: these objects are most of the garbage that a fetch leaves.
  readonly #source: FetchedRows;
  readonly #index: number;
  #decoded: Decoded | undefined;

  constructor(source: FetchedRows, at: number) {
    this.#source = source;
    this.#index = at;
  }

  get #row(): Row {
    return this.#source.rows.at(this.#index) as Row;
  }

  /** The facts that the socket's app server sent. */
  get #facts(): Facts {
    return this.#source.facts.at(this.#source.first + this.#index);
  }

  get #cache(): Decoded {
    return (this.#decoded ??= {});
  }

  get id(): string {
    return (this.#cache.id ??= this.#row.id);
  }

  get data(): any {
    const cache = this.#cache;
    if (cache.data === undefined) {
      const { data } = this.#facts;
      cache.data = data === undefined ? {} : data;
    }
    return cache.data;
  }

  set data(value: any) {
    this.#cache.data = value;
  }

  get rooms(): Set<string> {
    // The private room is not in the row.
    return (this.#cache.rooms ??= new Set(this.#row.rooms).add(this.id));
  }

  /** The user id in the client's access token. */
  get userId(): string | null {
    return this.#row.user;
  }

  get handshake(): NativeHandshake {
    return (this.#cache.handshake ??= nativeHandshake(this.#row, this.#source.headers, this.#facts.auth));
  }

  /** The server that fetched it. socket.io does not wrap sockets that have a server. */
  get server(): AnyServer {
    return this.#source.namespace.server;
  }

  get #operator(): Operator {
    const cache = this.#cache;
    if (!cache.operator) {
      cache.operator = this.#source.namespace.in(this.id);
      // One socket answers: the result is its answer, not a list of one.
      (cache.operator as unknown as { flags: Record<string, unknown> }).flags["expectSingleResponse"] = true;
    }
    return cache.operator;
  }

  timeout(ms: number): Operator {
    return this.#operator.timeout(ms) as Operator;
  }

  emit(event: string, ...args: any[]): boolean {
    return this.#operator.emit(event, ...args);
  }

  join(room: string | string[]): void {
    this.#operator.socketsJoin(room);
  }

  leave(room: string): void {
    this.#operator.socketsLeave(room);
  }

  disconnect(close = false): this {
    this.#operator.disconnectSockets(close);
    return this;
  }

  [inspect.custom](): unknown {
    const { id, handshake, rooms, data } = this;
    return { id, handshake, rooms, data };
  }
}

/** The handshake in the form of socket.io's own sockets. */
function nativeHandshake(row: Row, shared: SharedHeaders, auth: unknown): NativeHandshake {
  const decoded = row.handshake ? (JSON.parse(row.handshake) as Handshake) : { headers: {}, query: {}, claims: {} };
  const issued = decoded.issued ?? row.opened;
  const headers = headersOf(decoded);
  // Not `{ ...shared, ...own }`, which took longer than parsing the JSON (4 us; this takes less than 1).
  const { names, values } = shared.of(row.shared);
  for (let at = 0; at < names.length; at += 1) setKey(headers, names[at] as string, values[at]);
  return {
    headers,
    time: dateText(issued),
    address: decoded.address ?? "",
    xdomain: Boolean(headers.origin),
    secure: decoded.secure ?? false,
    issued,
    url: decoded.url ?? "",
    query: queryOf(decoded),
    auth: (auth ?? {}) as NativeHandshake["auth"],
  };
}

const MAX_CACHED_DATES = 1_000;
const dateTexts = new Map<number, string>();

/** Returns a date as JavaScript formats it, to the second. Formatting takes 3 us, and many sockets connect in the same
 * second, so results are cached. */
export function dateText(issued: number): string {
  const second = Math.floor(issued / 1000);
  let text = dateTexts.get(second);
  if (text === undefined) {
    if (dateTexts.size >= MAX_CACHED_DATES) dateTexts.clear();
    dateTexts.set(second, (text = `${new Date(issued)}`));
  }
  return text;
}
