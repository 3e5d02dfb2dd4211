// The HTTP request that a client opened its session with, rebuilt from what the service tells of it, so
// that middlewares and handlers read it as they read a native one.

import { EventEmitter } from "node:events";
import { IncomingMessage } from "node:http";
import type { Socket } from "node:net";

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

  constructor(handshake: Handshake, userId: string | null) {
    super(new Origin(handshake) as unknown as Socket);
    this.method = "GET";
    this.httpVersion = "1.1";
    this.httpVersionMajor = 1;
    this.httpVersionMinor = 1;
    this.url = handshake.url ?? "/";
    // Node.js makes `headers` of this, by its own rules for names that come twice.
    this.rawHeaders = flat(handshake.headers);
    this._query = lastOfEach(handshake.query);
    this.claims = handshake.claims as Record<string, string[]>;
    this.userId = userId;
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

export function flat(headers: Lists): string[] {
  return Object.entries(headers).flatMap(([name, values]) => values.flatMap((value) => [name, value]));
}

/** As engine.io reads a query: the last value of a name holds. */
export function lastOfEach(query: Lists): Record<string, string> {
  return Object.fromEntries(Object.entries(query).map(([name, values]) => [name, values.at(-1) ?? ""]));
}
