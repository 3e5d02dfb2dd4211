// The interfaces through which the engine and the adapters use the link and report failures.

import type { Done, FromApp, Part } from "./wire/frames.js";

export interface Uplink {
  readonly serverId: string;
  /** A new session has a new id. Numbers of clients and questions are valid within one session only. */
  readonly sessionId: string;
  send(frame: FromApp): void;
  sendVolatile(frame: FromApp): boolean;
  request(make: (ref: number) => FromApp, options?: RequestCallbacks): Promise<Done>;
}

/** Callbacks of a request, called synchronously while frames are read. A promise would resolve after the next frames.
 */
interface RequestCallbacks {
  readonly onPart?: (part: Part) => void;
  readonly onDone?: (done: Done) => void;
}

/** Handles a failure that no caller waits for. */
export type Report = (error: Error) => void;
