// What this app server knows of its sockets and the service does not, for those that fetch them elsewhere.

import type { AnySocket } from "../internals.js";
import type { Report } from "../uplink.js";
import type { Chunk } from "../wire/frames.js";
import { explain } from "./unserialisable.js";

/** Sockets in one chunk. Written at once they take half the time that they take one by one; read, each of
 * them costs as much as all, if nobody looks into the others. */
const TOGETHER = 64;

export interface Facts {
  readonly data?: unknown;
  readonly auth?: unknown;
}

const NONE: Facts = {};

/** Of each of `ids`, `{}` where there is nothing to tell. What cannot be serialised is reported and left out. */
export function facts(sockets: ReadonlyMap<string, AnySocket>, ids: readonly string[], report: Report): Chunk[] {
  const chunks: Chunk[] = [];
  for (let start = 0; start < ids.length; start += TOGETHER) {
    const some = ids.slice(start, start + TOGETHER);
    const all = some.map((id) => factsOf(sockets.get(id)));
    chunks.push({ count: some.length, facts: together(all) ?? `[${all.map((one, at) => alone(one, some[at], report)).join()}]` });
  }
  return chunks;
}

function factsOf(socket: AnySocket | undefined): Facts {
  if (!socket) return NONE;
  const { data, handshake } = socket;
  // JSON leaves out members that are undefined.
  return { data: filled(data) ? data : undefined, auth: filled(handshake.auth) ? handshake.auth : undefined };
}

function together(all: readonly Facts[]): string | undefined {
  try {
    return JSON.stringify(all);
  } catch {
    return undefined;
  }
}

function alone(one: Facts, id: string | undefined, report: Report): string {
  try {
    return JSON.stringify(one);
  } catch (error) {
    report(new Error(`data of socket ${id} is not fetched: ${message(explain(error, one))}`, { cause: error }));
    return "{}";
  }
}

function filled(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return value !== undefined;
  return Object.keys(value).length > 0;
}

const message = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** What another app server told of its sockets, in the order of their rows; read where it is looked into. */
export class ServerFacts {
  readonly #chunks: ToldFacts[] = [];
  /** The place behind the last socket of each. */
  readonly #ends: number[] = [];

  add(chunk: Chunk): void {
    this.#chunks.push(new ToldFacts(chunk.facts));
    this.#ends.push((this.#ends.at(-1) ?? 0) + chunk.count);
  }

  /** `{}` where nothing was told. */
  at(place: number): Facts {
    const ends = this.#ends;
    let low = 0;
    for (let high = ends.length; low < high; ) {
      const middle = (low + high) >>> 1;
      if ((ends[middle] as number) <= place) low = middle + 1;
      else high = middle;
    }
    return this.#chunks[low]?.at(place - (ends[low - 1] ?? 0)) ?? NONE;
  }
}

class ToldFacts {
  #unread: string | undefined;
  #all: readonly unknown[] = [];

  constructor(text: string) {
    this.#unread = text;
  }

  at(index: number): Facts {
    if (this.#unread !== undefined) {
      const text = this.#unread;
      this.#unread = undefined;
      this.#all = listOf(text);
    }
    const found = this.#all[index];
    return typeof found === "object" && found !== null ? found : NONE;
  }
}

/** Rubbish of another app server's is nothing, rather than an error wherever somebody looks. */
function listOf(text: string): readonly unknown[] {
  try {
    const all: unknown = JSON.parse(text);
    return Array.isArray(all) ? all : [];
  } catch {
    return [];
  }
}
