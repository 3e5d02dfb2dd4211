// The link to a service: one WebSocket at a time, one session as long as it can be resumed.

import { EventEmitter } from "node:events";

import type { Done, FromApp } from "../wire/frames.js";
import { MoorageError } from "./errors.js";
import type { LinkEvents, LinkHandler, LinkOptions, LinkState, RequestOptions } from "./types.js";

export class Link extends EventEmitter<LinkEvents> {
  /** Set it before `connect` resolves (option `handler`), or frames are lost. */
  handler: LinkHandler | undefined;
  readonly serverId: string = "";
  sessionId = "";
  state: LinkState = "connecting";

  /** Resolves once the service has said hello; rejects with a `MoorageError` that names cause and fix. */
  static connect(options: LinkOptions): Promise<Link> {
    return Promise.reject(new MoorageError("link-lost", `not reachable: ${options.endpoint}`));
  }

  /** Bytes that wait to be sent. */
  get queuedBytes(): number {
    return 0;
  }

  /** At the end of the queue; all frames of one turn of the event loop leave as one message. Throws a
   * `MoorageError` (link-overflow) if more than `maxQueueBytes` wait, (link-closed) after the end. */
  send(frame: FromApp): void {
    throw new MoorageError("link-closed", `not sent: ${frame.type}`);
  }

  /** As `send`, but false instead of waiting when the link is down or without credit. */
  sendVolatile(frame: FromApp): boolean {
    void frame;
    return false;
  }

  /** Sends the frame that `make` builds around a fresh `ref`, and resolves with its `Done` (of a `List`:
   * one made up, `Servers` goes to `onPart`). Rejects with the service's `Failed` as a `MoorageError`,
   * with `session-lost`, `request-timeout`, or as `send` throws. */
  request(make: (ref: number) => FromApp, options: RequestOptions = {}): Promise<Done> {
    void make, options;
    return Promise.reject(new MoorageError("link-closed", "closed"));
  }

  /** Farewell: asks for no new clients, waits until what was sent is taken (at most `drain` ms, default
   * 0: not at all), and closes. */
  close(options: { drain?: number } = {}): Promise<void> {
    void options;
    return Promise.resolve();
  }
}
