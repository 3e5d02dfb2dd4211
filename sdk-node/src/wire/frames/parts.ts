// The types of frames, and the parts that several frames share.

export const SUBPROTOCOL = "moorage.v1";

/** Counts additions within version 1. Each side sends its own; the lower one applies. */
export const REVISION = 6;

/** Flag of emits: skip clients that cannot take the packet at once. */
export const VOLATILE = 1;
/** Flag of emits: only clients of the app server that emits. */
export const LOCAL = 2;

/** The types of frames. */
export const Type = {
  Hello: 0,
  Open: 1,
  Opened: 2,
  Refused: 3,
  Packet: 4,
  Closed: 5,
  Close: 6,
  Left: 7,
  Moved: 8,
  Upgraded: 9,
  Emit: 10,
  Ask: 11,
  Asked: 12,
  Answer: 13,
  Done: 14,
  Failed: 15,
  Enter: 20,
  Exit: 21,
  Join: 22,
  Leave: 23,
  Disconnect: 24,
  Fetch: 30,
  Sockets: 31,
  Query: 32,
  Facts: 33,
  Data: 34,
  Tell: 40,
  Told: 41,
  Reply: 42,
  List: 43,
  Servers: 44,
  Drain: 50,
  Nodes: 51,
  Cover: 52,
  Again: 53,
  Recover: 60,
  Parked: 61,
  Back: 62,
  Save: 63,
  Unfinished: 64,
  Settled: 65,
  HandOver: 70,
  State: 71,
  Freeze: 72,
  Adopt: 73,
  Released: 74,
  Resume: 75,
  Trace: 80,
  Traced: 81,
} as const;

/** Selects the sockets of `namespace` that are in any of `rooms` (empty: all sockets) and in none of `excluded`. */
export interface To {
  readonly namespace: string;
  readonly rooms: readonly string[];
  readonly excluded: readonly string[];
}

/** Engine.IO packets from or to one client, joined by 0x1e. */
export interface Packet {
  readonly type: typeof Type.Packet;
  readonly client: number;
  readonly payload: string;
}

/** To the service: send no new clients. From the service: it stops in `seconds`. */
export interface Drain {
  readonly type: typeof Type.Drain;
  readonly seconds: number;
}

/** The facts of some sockets: a JSON array of `count` objects. */
export interface Chunk {
  readonly count: number;
  readonly facts: string;
}
