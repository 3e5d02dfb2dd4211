// Delays between attempts to connect.

/** In milliseconds. Most interruptions are over within 100 ms, and the service keeps a session for a few seconds only,
 * so the first retry comes early. */
const FIRST_DELAY = 100;
const MAX_DELAY = 5_000;

/** Exponential backoff with jitter. Each delay is cut by up to half at random, so that the app servers of a restarted
 * service do not all connect at the same moment. */
export class Backoff {
  readonly #random: () => number;
  #next = FIRST_DELAY;

  constructor(random: () => number = Math.random) {
    this.#random = random;
  }

  /** Returns the milliseconds until the next attempt, and doubles the delay after it. */
  next(): number {
    const delay = this.#next * (1 - this.#random() / 2);
    this.#next = Math.min(this.#next * 2, MAX_DELAY);
    return delay;
  }

  /** Called after a success: the next delay is the shortest again. */
  reset(): void {
    this.#next = FIRST_DELAY;
  }
}
