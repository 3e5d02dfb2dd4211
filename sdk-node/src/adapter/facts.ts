// Facts: what the app server knows about its sockets and the service does not (`data` and `auth`). Other app servers
// get them with `fetchSockets`.

import type { AnySocket } from "../server/internals.js";
import type { Report } from "../uplink.js";
import type { Chunk } from "../wire/frames.js";
import { explain } from "./unserialisable.js";

/** Number of sockets in one chunk. Serialised together, sockets take half the time that they take one by one. But a
 * chunk is parsed as a whole, even if only one of its sockets is looked at. */
const CHUNK_SOCKETS = 64;

export interface Facts {
  readonly data?: unknown;
  readonly auth?: unknown;
}

const NONE: Facts = {};

/** The facts of each of `ids`, `{}` for unknown sockets. Data that cannot be serialised is reported and left out. */
export function factsOf(sockets: ReadonlyMap<string, AnySocket>, ids: readonly string[], report: Report): Chunk[] {
  const chunks: Chunk[] = [];
  for (let start = 0; start < ids.length; start += CHUNK_SOCKETS) {
    const chunkIds = ids.slice(start, start + CHUNK_SOCKETS);
    const all = chunkIds.map((id) => socketFacts(sockets.get(id)));
    chunks.push({ count: chunkIds.length, facts: serialiseAll(all) ?? `[${all.map((one, at) => serialise(one, chunkIds[at], report)).join()}]` });
  }
  return chunks;
}

function socketFacts(socket: AnySocket | undefined): Facts {
  if (!socket) return NONE;
  const { data, handshake } = socket;
  // JSON leaves out members that are undefined.
  return { data: isNonEmpty(data) ? data : undefined, auth: isNonEmpty(handshake.auth) ? handshake.auth : undefined };
}

function serialiseAll(all: readonly Facts[]): string | undefined {
  try {
    return JSON.stringify(all);
  } catch {
    return undefined;
  }
}

function serialise(one: Facts, id: string | undefined, report: Report): string {
  try {
    return JSON.stringify(one);
  } catch (error) {
    report(new Error(`data of socket ${id} is not fetched: ${message(explain(error, one))}`, { cause: error }));
    return "{}";
  }
}

function isNonEmpty(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return value !== undefined;
  return Object.keys(value).length > 0;
}

const message = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** The facts that another app server sent about its sockets, in the order of their rows. They are parsed on first
 * access. */
export class ServerFacts {
  readonly #chunks: LazyFacts[] = [];
  /** Index behind the last socket of each chunk. */
  readonly #ends: number[] = [];

  add(chunk: Chunk): void {
    this.#chunks.push(new LazyFacts(chunk.facts));
    this.#ends.push((this.#ends.at(-1) ?? 0) + chunk.count);
  }

  /** Returns `{}` if the app server sent no facts for this index. */
  at(index: number): Facts {
    const ends = this.#ends;
    let low = 0;
    for (let high = ends.length; low < high; ) {
      const middle = (low + high) >>> 1;
      if ((ends[middle] as number) <= index) low = middle + 1;
      else high = middle;
    }
    return this.#chunks[low]?.at(index - (ends[low - 1] ?? 0)) ?? NONE;
  }
}

class LazyFacts {
  #unread: string | undefined;
  #all: readonly unknown[] = [];

  constructor(text: string) {
    this.#unread = text;
  }

  at(index: number): Facts {
    if (this.#unread !== undefined) {
      const text = this.#unread;
      this.#unread = undefined;
      this.#all = parseList(text);
    }
    const found = this.#all[index];
    return typeof found === "object" && found !== null ? found : NONE;
  }
}

/** Invalid JSON of another app server counts as no facts: an error would surface wherever a socket is looked at. */
function parseList(text: string): readonly unknown[] {
  try {
    const all: unknown = JSON.parse(text);
    return Array.isArray(all) ? all : [];
  } catch {
    return [];
  }
}
