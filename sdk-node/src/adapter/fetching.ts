// `fetchSockets` and `allSockets`: the service knows ids, rooms and handshakes, the app servers the rest.

import type { AnyNamespace, AnySocket } from "../internals.js";
import { type Data, type Part, type Sockets, Type } from "../wire/frames.js";
import { ToldFacts } from "./facts.js";
import { ClusterSocket } from "./remote.js";

/** A socket of this process, or what is known of another's. */
export type Fetched = AnySocket | ClusterSocket;

/** Collects the parts of the answer to a `Fetch`: the sockets of the other app servers. */
export class Fetching {
  /** By app server, in the order of its rows. */
  readonly #found = new Map<string, ClusterSocket[]>();

  constructor(
    private readonly namespace: AnyNamespace,
    private readonly serverId: string,
  ) {}

  take(part: Part): void {
    if (part.type === Type.Sockets) this.#sockets(part);
    else if (part.type === Type.Data) this.#data(part);
  }

  #sockets({ servers, rows }: Sockets): void {
    const lists = servers.map((server) => this.#of(server));
    for (const row of rows) lists[row.server]?.push(new ClusterSocket(this.namespace, row));
  }

  #of(server: string): ClusterSocket[] {
    let list = this.#found.get(server);
    if (!list) this.#found.set(server, (list = []));
    return list;
  }

  #data({ server, chunks }: Data): void {
    const sockets = this.#of(server);
    let next = 0;
    for (const chunk of chunks) {
      const told = new ToldFacts(chunk);
      for (let at = 0; at < chunk.count; at += 1) sockets[next++]?.learn(told, at);
    }
  }

  /** `own` and all that was found; `missing`: the app servers whose `data` did not come in time. */
  result(own: readonly AnySocket[], missing: readonly string[]): Fetched[] {
    // They were not asked for; a service that does not know of that sends them all the same.
    this.#found.delete(this.serverId);
    const found: Fetched[] = [own, ...this.#found.values()].flat();
    // socket.io maps over the list and returns what `map` made, so `map` hands the names on.
    const map = (...args: Parameters<Fetched[]["map"]>): unknown[] => withMissing(Array.prototype.map.apply(found, args), missing);
    Object.defineProperty(found, "map", { value: map });
    return withMissing(found, missing);
  }
}

function withMissing<T>(list: T[], missing: readonly string[]): T[] {
  return Object.defineProperty(list, "missing", { value: missing });
}

/** The ids of the app servers that did not tell the `data` of their sockets in time: those sockets are in
 * the list, with `data` `{}`. `sockets` is what `fetchSockets` gave. */
export function missingServers(sockets: readonly unknown[]): readonly string[] {
  return (sockets as { missing?: readonly string[] }).missing ?? [];
}
