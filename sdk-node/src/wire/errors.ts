// Errors that the package raises on its own account.

/** `reason` is a stable name, most of them from the service's catalogue of reasons (`token-signature`,
 * `link-bad-frame`, …); the message names the cause and what to do about it. */
export class MoorageError extends Error {
  override readonly name = "MoorageError";
  readonly reason: string;
  /** The reason's number in the service's catalogue; 0 for those that only this package has. */
  readonly number: number;

  constructor(reason: string, message: string, details: { number?: number; cause?: unknown } = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.reason = reason;
    this.number = details.number ?? 0;
  }
}
