// A client's HTTP request, rebuilt from the handshake that the service sends, so that middlewares and handlers can
// read it like a native one.

import { EventEmitter } from "node:events";
import { type IncomingHttpHeaders, IncomingMessage } from "node:http";
import type { Socket } from "node:net";

import { setKey, withoutPrototype } from "../safe-keys.js";

type MultiMap = Readonly<Record<string, readonly string[]>>;

/** The service's JSON; see `Open` in the link protocol. */
export interface Handshake {
  readonly headers: MultiMap;
  readonly query: MultiMap;
  readonly claims: MultiMap;
  readonly url?: string;
  readonly address?: string;
  readonly secure?: boolean;
  /** Milliseconds since 1970. */
  readonly issued?: number;
}

/** `socket.request` of a client that came through Moorage. */
export class ClientRequest extends IncomingMessage {
  /** The query of the request, without the access token; engine.io has it at the same place. */
  readonly _query: Record<string, string>;
  /** The claims of the client's access token, at the same place as in Azure's SDK. */
  readonly claims: Record<string, string[]>;
  /** The user id in the access token. */
  readonly userId: string | null;
  /** When the service received the request, in milliseconds since 1970. */
  readonly issued: number | undefined;

  constructor(handshake: Handshake, userId: string | null) {
    super(new RequestSocket(handshake) as unknown as Socket);
    this.method = "GET";
    this.httpVersion = "1.1";
    this.httpVersionMajor = 1;
    this.httpVersionMinor = 1;
    this.url = handshake.url ?? "/";
    this.headers = headersOf(handshake);
    this.rawHeaders = rawHeadersOf(handshake.headers);
    this._query = queryOf(handshake);
    this.claims = handshake.claims as Record<string, string[]>;
    this.userId = userId;
    this.issued = handshake.issued;
    this.complete = true;
  }
}

/** The counterpart of the request's TCP socket. */
class RequestSocket extends EventEmitter {
  readonly remoteAddress: string;
  readonly encrypted: boolean;
  readonly readable = true;
  readonly writable = true;
  readonly destroyed = false;

  constructor(handshake: Handshake) {
    super();
    this.remoteAddress = handshake.address ?? "";
    this.encrypted = handshake.secure ?? false;
  }

  destroy(): this {
    return this;
  }
}

/** Headers that may occur only once; of repeated ones Node.js keeps the first. */
const SINGLE_HEADERS = new Set([
  ...["age", "authorization", "content-length", "content-type", "etag", "expires", "from", "host", "if-modified-since"],
  ...["if-unmodified-since", "last-modified", "location", "max-forwards", "proxy-authorization", "referer", "retry-after"],
  ...["server", "user-agent"],
]);

/** Joins repeated headers as `IncomingMessage` does. */
export function headersOf({ headers }: Pick<Handshake, "headers">): IncomingHttpHeaders {
  const joined: IncomingHttpHeaders = {};
  // Few headers are repeated, and `fetchSockets` reads thousands of handshakes: one value is the fast case.
  for (const name of Object.keys(headers)) {
    const values = headers[name] ?? [];
    if (name === "set-cookie") joined[name] = [...values];
    else if (values.length === 1 || SINGLE_HEADERS.has(name)) setKey(joined, name, values[0]);
    else setKey(joined, name, values.join(name === "cookie" ? "; " : ", "));
  }
  return joined;
}

function rawHeadersOf(headers: MultiMap): string[] {
  const raw: string[] = [];
  // Loops, because each client pays for the lists that `flatMap` would make on the way.
  for (const name of Object.keys(headers)) for (const value of headers[name] ?? []) raw.push(name, value);
  return raw;
}

/** Reads a query as engine.io does: the last value of a repeated name counts, and the object has no prototype. */
export function queryOf({ query }: Handshake): Record<string, string> {
  const last = withoutPrototype<string>();
  for (const name of Object.keys(query)) last[name] = query[name]?.at(-1) ?? "";
  return last;
}
