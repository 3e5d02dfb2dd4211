// `fetchSockets` and `allSockets`: the service knows ids, rooms and handshakes, the app servers the rest.

import type { AnyNamespace, AnySocket } from "../internals.js";
import { type Data, type Part, type Sockets, Type } from "../wire/frames.js";
import { ClusterSocket } from "./remote.js";

/** A socket of this process, or what is known of another's. */
export type Fetched = AnySocket | ClusterSocket;

/** Collects the parts of the answer to a `Fetch`. */
export class Fetching {
  readonly #found: Fetched[] = [];
  readonly #remote = new Map<string, ClusterSocket>();

  constructor(
    private readonly namespace: AnyNamespace,
    private readonly serverId: string,
  ) {}

  take(part: Part): void {
    if (part.type === Type.Sockets) this.#sockets(part);
    else if (part.type === Type.Data) this.#data(part);
  }

  #sockets({ servers, rows }: Sockets): void {
    const own = servers.indexOf(this.serverId);
    for (const row of rows) {
      if (row.server === own) {
        // Absent: its disconnect is on the way, or its CONNECT answer was sent only just now.
        const socket = this.namespace.sockets.get(row.id);
        if (socket) this.#found.push(socket);
      } else {
        const socket = new ClusterSocket(this.namespace, row);
        this.#remote.set(row.id, socket);
        this.#found.push(socket);
      }
    }
  }

  #data({ rows }: Data): void {
    for (const [id, facts] of rows) this.#remote.get(id)?.learn(facts);
  }

  /** All that was found; `missing`: the app servers whose `data` did not come in time. */
  result(missing: readonly string[]): Fetched[] {
    const found = this.#found;
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
