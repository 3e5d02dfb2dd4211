// A connection whose client changes its app server.

import { attachments, isEventWithAck } from "./payload.js";

/** Milliseconds to wait for handlers that have not answered an event. Some never do, and a late answer still reaches
 * the client. */
const IDLE_TIMEOUT = 1_000;

/** `adopting`: the client comes from another app server. `freezing`: its handlers end here. `frozen`: the service knows
 * its state. `released`: another app server serves it. */
type Stage = "adopting" | "freezing" | "frozen" | "released";

export class Moving {
  /** What the app has sent since the client is frozen, and must not leave now: events that ask for an ack, with their
   * attachments. Another app server may use their ids. */
  readonly withheld: unknown[] = [];
  #attachments = 0;
  #whenIdle: (() => void) | undefined;

  constructor(public stage: Stage) {}

  /** Calls `done` once: at once, when `idle` was called, or when it takes too long. */
  whenIdle(waits: boolean, done: () => void): void {
    if (!waits) return done();
    const late = setTimeout(() => this.idle(), IDLE_TIMEOUT);
    this.#whenIdle = () => {
      clearTimeout(late);
      done();
    };
  }

  /** All events have been answered. The handler may go on, so it ends first. */
  idle(): void {
    const done = this.#whenIdle;
    this.#whenIdle = undefined;
    if (done) setImmediate(done);
  }

  /** True if a message must not leave. */
  withholds(data: unknown): boolean {
    if (this.stage === "freezing") return false;
    // The client has got the answer to its CONNECT from another app server.
    if (this.stage === "adopting") return typeof data === "string" && data.startsWith("0");
    if (this.#attachments > 0) this.#attachments -= 1;
    else if (typeof data === "string" && isEventWithAck(data)) this.#attachments = attachments(data);
    else return false;
    if (this.stage === "frozen") this.withheld.push(data);
    return true;
  }
}
