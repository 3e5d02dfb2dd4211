// Errors that the package raises on its own account.

export interface ErrorDetails {
  readonly number?: number;
  readonly retry?: boolean;
  readonly cause?: unknown;
}

/** The message names the cause and what to do about it. */
export class MoorageError extends Error {
  override readonly name = "MoorageError";
  /** A stable name, most of them from the service's catalogue of reasons (`token-signature`, …). */
  readonly reason: string;
  /** The reason's number in that catalogue; 0 for those that only this package has. */
  readonly number: number;
  /** The same may succeed later without anybody changing anything. */
  readonly retry: boolean;

  constructor(reason: string, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.reason = reason;
    this.number = details.number ?? 0;
    this.retry = details.retry ?? false;
  }
}
