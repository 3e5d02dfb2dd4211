// The error class of this package.

interface ErrorDetails {
  readonly number?: number;
  readonly retry?: boolean;
  readonly cause?: unknown;
}

/** The message names the cause and the remedy. */
export class MoorageError extends Error {
  override readonly name = "MoorageError";
  /** A stable name; most are from the service's catalogue of reasons (`token-signature`, …). */
  readonly reason: string;
  /** The reason's number in that catalogue; 0 for reasons that only this package has. */
  readonly number: number;
  /** True if the same call may succeed later without any change. */
  readonly retry: boolean;

  constructor(reason: string, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.reason = reason;
    this.number = details.number ?? 0;
    this.retry = details.retry ?? false;
  }
}
