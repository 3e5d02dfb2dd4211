// Delays between attempts to connect.

/** In milliseconds. Most interruptions are over within 100 ms, and the service keeps a session for a few seconds only,
 * so the first retry comes early. */
const FIRST_DELAY = 100;
const MAX_DELAY = 5_000;
/** The longest delay while the service keeps the session. With longer ones, a network that works again in time would be
 * noticed too late. */
const MAX_DELAY_IN_GRACE = 500;

/** Exponential backoff with jitter. Each delay is cut by up to half at random, so that the app servers of a restarted
 * service do not all connect at the same moment. */
export class Backoff {
  readonly #random: () => number;
  #next = FIRST_DELAY;

  constructor(random: () => number = Math.random) {
    this.#random = random;
  }

  /** Returns the milliseconds until the next attempt, and doubles the delay after it. `inGrace`: the service still keeps
   * the session. */
  next(inGrace = false): number {
    const delay = inGrace ? Math.min(this.#next, MAX_DELAY_IN_GRACE) : this.#next;
    this.#next = Math.min(this.#next * 2, MAX_DELAY);
    return delay * (1 - this.#random() / 2);
  }

  /** Called when a link breaks that was up for `ms` milliseconds. After one that was up for a while, the next delay is
   * the shortest again. A link that breaks at once each time is not retried faster and faster. */
  broke(ms: number): void {
    if (ms >= MAX_DELAY_IN_GRACE) this.#next = FIRST_DELAY;
  }
}
