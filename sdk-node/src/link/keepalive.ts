// The link's timer: acknowledgements that no batch carries, keep-alive, and detection of a silent service.

/** Milliseconds between two ticks, at most. An acknowledgement may wait one second; the difference leaves time for a
 * busy event loop. */
const MAX_STEP = 900;
/** Number of keep-alive intervals without any message after which the link counts as lost. */
const MAX_MISSED = 3;

/** Counts its own ticks instead of reading a clock. While the process is stopped or too busy to read, it does not tick
 * either, and so does not take the service for silent. */
export class KeepAlive {
  readonly #send: (idle: boolean) => void;
  readonly #silent: () => void;
  #timer: NodeJS.Timeout | undefined;
  #step = MAX_STEP;
  #keepalive = 0;
  #sentAgo = 0;
  #readAgo = 0;

  /** `send` sends an acknowledgement if one is due, or in any case if `idle` (nothing was sent for too long). `silent`
   * is called when nothing was read for three keep-alive intervals. */
  constructor(send: (idle: boolean) => void, silent: () => void) {
    this.#send = send;
    this.#silent = silent;
  }

  /** Starts the timer with the service's `keepalive` in milliseconds. */
  start(keepalive: number): void {
    this.stop();
    this.#keepalive = Math.max(keepalive, 2);
    this.#step = Math.min(MAX_STEP, this.#keepalive / 2);
    this.#sentAgo = this.#readAgo = 0;
    // The timer does not keep the process alive; the WebSocket does.
    this.#timer = setInterval(() => this.#tick(), this.#step).unref();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  /** Called after each message sent. */
  sent(): void {
    this.#sentAgo = 0;
  }

  /** Called after each message read. */
  read(): void {
    this.#readAgo = 0;
  }

  #tick(): void {
    this.#sentAgo += this.#step;
    this.#readAgo += this.#step;
    if (this.#readAgo > this.#keepalive * MAX_MISSED) this.#silent();
    else this.#send(this.#sentAgo + this.#step > this.#keepalive);
  }
}
