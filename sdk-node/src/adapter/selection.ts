// Conversion of socket.io's broadcast options to the selection and flags of a frame.

import type { BroadcastOptions } from "socket.io-adapter";

import { LOCAL, type To, VOLATILE } from "../wire/frames.js";

export function selection(namespace: string, options: BroadcastOptions): To {
  return { namespace, rooms: roomNames(options.rooms), excluded: roomNames(options.except) };
}

export function flagsOf({ flags }: BroadcastOptions): number {
  if (!flags) return 0;
  return (flags.volatile ? VOLATILE : 0) | (flags.local ? LOCAL : 0);
}

const NONE: readonly string[] = [];

/** Rooms are strings on the link; natively a number may be a room too. */
export function roomNames(rooms: Iterable<unknown> | undefined): readonly string[] {
  if (!rooms) return NONE;
  return Array.from(rooms, String);
}
