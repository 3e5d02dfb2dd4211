// How long to wait before the next attempt.

/** Milliseconds. The first retry comes within 100: most cuts are over by then, and the service keeps a
 * session for seconds only. */
const FIRST = 100;
const LONGEST = 5_000;

/** Doubling delays, each cut by up to half at random: a service that comes back is not met by all of its
 * app servers in one instant. */
export class Backoff {
  readonly #random: () => number;
  #next = FIRST;

  constructor(random: () => number = Math.random) {
    this.#random = random;
  }

  /** Milliseconds until the next attempt. */
  next(): number {
    const delay = this.#next * (1 - this.#random() / 2);
    this.#next = Math.min(this.#next * 2, LONGEST);
    return delay;
  }

  /** It worked. */
  reset(): void {
    this.#next = FIRST;
  }
}
