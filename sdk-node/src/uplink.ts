// The interfaces through which the engine and the adapters use the links and report failures.

import type { Done, FromApp, Part } from "./wire/frames.js";

/** All nodes of the service. What is for one client, or answers a question, goes to one link instead. */
export interface Uplink {
  readonly serverId: string;
  send(frame: FromApp): void;
  sendVolatile(frame: FromApp): boolean;
  /** Sends to all nodes that go on with the sockets of lost ones. Does not throw. */
  sendToKeepers(frame: FromApp): void;
  request(make: (ref: number) => FromApp, options?: RequestCallbacks): Promise<Done>;
}

/** Callbacks of a request, called synchronously while frames are read. A promise would resolve after the next frames.
 */
interface RequestCallbacks {
  readonly onPart?: (part: Part, link: object) => void;
  readonly onDone?: (done: Done) => void;
}

/** Handles a failure that no caller waits for. */
export type Report = (error: Error) => void;
