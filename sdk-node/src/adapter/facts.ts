// What this app server knows of its sockets and the service does not, for those that fetch them elsewhere.

import type { AnySocket } from "../internals.js";
import type { Report } from "../uplink.js";
import type { Fact } from "../wire/frames.js";
import { explain } from "./unserialisable.js";

/** A row for each of `ids` that has `data` or `auth`. What cannot be serialised is reported and left out. */
export function facts(sockets: ReadonlyMap<string, AnySocket>, ids: readonly string[], report: Report): Fact[] {
  const rows: Fact[] = [];
  for (const id of ids) {
    const socket = sockets.get(id);
    if (!socket) continue;
    const { data, handshake } = socket;
    const known = { ...(filled(data) && { data }), ...(filled(handshake.auth) && { auth: handshake.auth }) };
    if (!filled(known)) continue;
    try {
      rows.push([id, JSON.stringify(known)]);
    } catch (error) {
      report(new Error(`data of socket ${id} is not fetched: ${message(explain(error, known))}`, { cause: error }));
    }
  }
  return rows;
}

function filled(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return value !== undefined;
  for (const _ in value) return true;
  return false;
}

const message = (error: unknown): string => (error instanceof Error ? error.message : String(error));
