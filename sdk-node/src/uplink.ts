// What the engine and the adapters need of the link, and of whoever hears of failures.

import type { Done, FromApp, Part } from "./wire/frames.js";

export interface Uplink {
  readonly serverId: string;
  /** Another one: numbers of clients and questions are others' now. */
  readonly sessionId: string;
  send(frame: FromApp): void;
  sendVolatile(frame: FromApp): boolean;
  request(make: (ref: number) => FromApp, options?: Hearing): Promise<Done>;
}

/** Called synchronously as the frames are read: a promise would come after the next frames. */
export interface Hearing {
  readonly onPart?: (part: Part) => void;
  readonly onDone?: (done: Done) => void;
}

/** Takes a failure that no caller waits for. */
export type Report = (error: Error) => void;
