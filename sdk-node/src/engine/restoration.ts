// Connection state recovery: a socket of an earlier connection goes on with a new one.

import { randomBytes } from "node:crypto";

import { namespaceOf } from "./payload.js";

/** The socket that is to go on. */
export class Restoration {
  /** The rooms that it has at the service, without its private room. Others may change them until it is connected. */
  readonly rooms: Set<string>;

  constructor(
    readonly id: string,
    rooms: readonly string[],
    readonly data: unknown,
  ) {
    this.rooms = new Set(rooms);
  }

  moved(joined: boolean, rooms: readonly string[]): void {
    for (const room of rooms)
      if (joined) this.rooms.add(room);
      else this.rooms.delete(room);
  }
}

/** By `pid`: those whose CONNECT packet socket.io handles. */
export type Restorations = Map<string, Restoration>;

/** The text of a CONNECT packet for which socket.io asks its adapter for a session, and the `pid` by which it asks. A
 * client that has received no event yet sends no offset; socket.io requires one. */
export function askForSession(text: string): { pid: string; text: string } {
  const namespace = namespaceOf(text);
  const head = namespace === "/" ? "0" : `0${namespace},`;
  const body = text.slice(head.length);
  const auth = (body === "" ? {} : JSON.parse(body)) as { pid?: unknown; offset?: unknown };
  const pid = typeof auth.pid === "string" ? auth.pid : randomBytes(12).toString("base64url");
  const offset = typeof auth.offset === "string" ? auth.offset : "";
  return { pid, text: head + JSON.stringify({ ...auth, pid, offset }) };
}
