// The HTTP request that a client opened its session with, rebuilt from what the service tells of it, so
// that middlewares and handlers read it as they read a native one.

import { EventEmitter } from "node:events";
import { type IncomingHttpHeaders, IncomingMessage } from "node:http";
import type { Socket } from "node:net";

import { bare, put } from "../named.js";

type Lists = Readonly<Record<string, readonly string[]>>;

/** The service's JSON; see `Open` in the link protocol. */
export interface Handshake {
  readonly headers: Lists;
  readonly query: Lists;
  readonly claims: Lists;
  readonly url?: string;
  readonly address?: string;
  readonly secure?: boolean;
  /** Milliseconds since 1970. */
  readonly issued?: number;
}

/** `socket.request` of a client that came through Moorage. */
export class ClientRequest extends IncomingMessage {
  readonly _query: Record<string, string>;
  /** The claims of the client's access token; Azure's SDK has them at the same place. */
  readonly claims: Record<string, string[]>;
  /** Whom the access token names. */
  readonly userId: string | null;
  /** When the service got it, in milliseconds since 1970. */
  readonly issued: number | undefined;

  constructor(handshake: Handshake, userId: string | null) {
    super(new Origin(handshake) as unknown as Socket);
    this.method = "GET";
    this.httpVersion = "1.1";
    this.httpVersionMajor = 1;
    this.httpVersionMinor = 1;
    this.url = handshake.url ?? "/";
    this.headers = headersOf(handshake);
    this.rawHeaders = flat(handshake.headers);
    this._query = queryOf(handshake);
    this.claims = handshake.claims as Record<string, string[]>;
    this.userId = userId;
    this.issued = handshake.issued;
    this.complete = true;
  }
}

/** Stands where a request has its TCP socket. */
class Origin extends EventEmitter {
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

/** Names that may come once; of more, Node.js keeps the first. */
const SINGLE = new Set([
  ...["age", "authorization", "content-length", "content-type", "etag", "expires", "from", "host", "if-modified-since"],
  ...["if-unmodified-since", "last-modified", "location", "max-forwards", "proxy-authorization", "referer", "retry-after"],
  ...["server", "user-agent"],
]);

/** As `IncomingMessage` has them. */
export function headersOf({ headers }: Pick<Handshake, "headers">): IncomingHttpHeaders {
  const joined: IncomingHttpHeaders = {};
  // Of thousands of fetched sockets, hardly a header comes twice.
  for (const name of Object.keys(headers)) {
    const values = headers[name] ?? [];
    if (name === "set-cookie") joined[name] = [...values];
    else if (values.length === 1 || SINGLE.has(name)) put(joined, name, values[0]);
    else put(joined, name, values.join(name === "cookie" ? "; " : ", "));
  }
  return joined;
}

function flat(headers: Lists): string[] {
  return Object.entries(headers).flatMap(([name, values]) => values.flatMap((value) => [name, value]));
}

/** As engine.io reads a query: the last value of a name holds, and there is no prototype. */
export function queryOf({ query }: Handshake): Record<string, string> {
  const last = bare<string>();
  for (const name of Object.keys(query)) last[name] = query[name]?.at(-1) ?? "";
  return last;
}
