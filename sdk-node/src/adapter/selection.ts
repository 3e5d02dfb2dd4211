// Which sockets an operation means, in the link's words.

import type { BroadcastOptions } from "socket.io-adapter";

import { LOCAL, type To, VOLATILE } from "../wire/frames.js";

export function selection(namespace: string, options: BroadcastOptions): To {
  return { namespace, rooms: names(options.rooms), excluded: names(options.except) };
}

export function flagsOf({ flags }: BroadcastOptions): number {
  if (!flags) return 0;
  return (flags.volatile ? VOLATILE : 0) | (flags.local ? LOCAL : 0);
}

const NONE: readonly string[] = [];

/** Rooms are text on the wire; natively a number may name one too. */
export function names(rooms: Iterable<unknown> | undefined): readonly string[] {
  if (!rooms) return NONE;
  return Array.from(rooms, String);
}
