// `fetchSockets` and `allSockets`: the service knows ids, rooms and handshakes, the app servers know the rest.

import type { AnyNamespace, AnySocket } from "../server/internals.js";
import { type Part, type Sockets, Type } from "../wire/frames.js";
import { ServerFacts } from "./facts.js";
import { ClusterSocket, SharedHeaders } from "./remote.js";

/** A socket of this process, or a socket of another app server. */
type Fetched = AnySocket | ClusterSocket;

/** Collects the parts of the answer to a `Fetch`: the sockets of the other app servers. */
export class FetchCollector {
  /** By link and app server: each link has rows and data of its own. */
  readonly #links = new Map<object, Map<string, ServerSockets>>();

  constructor(
    private readonly namespace: AnyNamespace,
    private readonly serverId: string,
  ) {}

  take(part: Part, link: object): void {
    if (part.type === Type.Sockets) this.#takeSockets(part, link);
    else if (part.type === Type.Data) for (const chunk of part.chunks) this.#server(part.server, link).facts.add(chunk);
  }

  #takeSockets({ servers, rows, headers: some }: Sockets, link: object): void {
    const headers = new SharedHeaders(some);
    const served = servers.map((server) => this.#server(server, link));
    const [only] = served;
    if (only && served.length === 1) {
      const listed = { namespace: this.namespace, rows, headers, facts: only.facts, first: only.sockets.length };
      for (let row = 0; row < rows.length; row += 1) only.sockets.push(new ClusterSocket(listed, row));
      return;
    }
    let at = 0;
    for (const row of rows) {
      const { facts, sockets } = served[row.server] as ServerSockets;
      sockets.push(new ClusterSocket({ namespace: this.namespace, rows, headers, facts, first: sockets.length - at }, at));
      at += 1;
    }
  }

  #server(server: string, link: object): ServerSockets {
    let servers = this.#links.get(link);
    if (!servers) this.#links.set(link, (servers = new Map()));
    let served = servers.get(server);
    if (!served) servers.set(server, (served = { sockets: [], facts: new ServerFacts() }));
    return served;
  }

  /** Returns `own` and all collected sockets. `missing`: the app servers whose `data` did not arrive in time. */
  result(own: readonly AnySocket[], missing: readonly string[]): Fetched[] {
    // The request leaves out this app server; a service of an older revision sends its sockets all the same.
    const found: Fetched[] = own.slice();
    for (const servers of this.#links.values()) {
      servers.delete(this.serverId);
      for (const { sockets } of servers.values()) for (const socket of sockets) found.push(socket);
    }
    // socket.io maps over the list and returns the result of `map`, so `map` copies `missing`.
    const map = (...args: Parameters<Fetched[]["map"]>): unknown[] => withMissing(Array.prototype.map.apply(found, args), missing);
    Object.defineProperty(found, "map", { value: map });
    return withMissing(found, missing);
  }
}

/** The sockets of one app server, in the order of its rows. */
interface ServerSockets {
  readonly sockets: ClusterSocket[];
  readonly facts: ServerFacts;
}

function withMissing<T>(list: T[], missing: readonly string[]): T[] {
  return Object.defineProperty(list, "missing", { value: missing });
}

/** Returns the ids of the app servers that did not send the `data` of their sockets in time. Those sockets are in the
 * list, with `data` `{}`. `sockets` is the result of `fetchSockets`. */
export function missingServers(sockets: readonly unknown[]): readonly string[] {
  return (sockets as { missing?: readonly string[] }).missing ?? [];
}
