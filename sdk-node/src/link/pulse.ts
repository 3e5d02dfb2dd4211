// The link's clock: acknowledgements that nothing else carries, keep-alive, silence.

/** An acknowledgement may wait a second; a bit less leaves time for a busy event loop. */
const LONGEST = 900;
/** Missing signs of life after which the link is taken for lost. */
const MISSED = 3;

/** Counts its own ticks instead of reading a clock: while the process is stopped or too busy to read,
 * no tick comes either, and nobody is taken for silent. */
export class Pulse {
  readonly #send: (idle: boolean) => void;
  readonly #silent: () => void;
  #timer: NodeJS.Timeout | undefined;
  #step = LONGEST;
  #keepalive = 0;
  #sentAgo = 0;
  #readAgo = 0;

  /** `send`: acknowledge if there is something to, or if `idle` (nothing was sent for too long).
   * `silent`: nothing was read for three times the keep-alive. */
  constructor(send: (idle: boolean) => void, silent: () => void) {
    this.#send = send;
    this.#silent = silent;
  }

  /** From now on, with the service's `keepalive` in milliseconds. */
  start(keepalive: number): void {
    this.stop();
    this.#keepalive = Math.max(keepalive, 2);
    this.#step = Math.min(LONGEST, this.#keepalive / 2);
    this.#sentAgo = this.#readAgo = 0;
    // Not what keeps the process alive: the WebSocket does.
    this.#timer = setInterval(() => this.#tick(), this.#step).unref();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  /** Something was sent. */
  sent(): void {
    this.#sentAgo = 0;
  }

  /** Something was read. */
  read(): void {
    this.#readAgo = 0;
  }

  #tick(): void {
    this.#sentAgo += this.#step;
    this.#readAgo += this.#step;
    if (this.#readAgo > this.#keepalive * MISSED) this.#silent();
    else this.#send(this.#sentAgo + this.#step > this.#keepalive);
  }
}
