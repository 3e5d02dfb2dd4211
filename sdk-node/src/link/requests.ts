// Requests to the service that are not answered yet.

import { MoorageError } from "../wire/errors.js";
import { Type, type Done, type Failed, type Part } from "../wire/frames.js";
import type { RequestOptions } from "./types.js";

interface Pending {
  readonly resolve: (done: Done) => void;
  readonly reject: (error: Error) => void;
  readonly onPart: ((part: Part) => void) | undefined;
  readonly onDone: ((done: Done) => void) | undefined;
  readonly timer: NodeJS.Timeout | undefined;
}

/** Pending requests by `ref`. A `ref` is never used twice, in any session, so a late answer to a request of a lost
 * session cannot reach a newer request. */
export class Requests {
  readonly #pending = new Map<number, Pending>();
  #last = 0;

  /** Returns an unused `ref`. */
  next(): number {
    this.#last += 1;
    return this.#last;
  }

  /** Resolves with the answer to `ref`; see `Link.request`. */
  wait(ref: number, { timeout, onPart, onDone }: RequestOptions): Promise<Done> {
    return new Promise((resolve, reject) => {
      const late = () => this.#take(ref)?.reject(requestTimeout(timeout ?? 0));
      const timer = timeout === undefined ? undefined : setTimeout(late, timeout);
      this.#pending.set(ref, { resolve, reject, onPart, onDone, timer });
    });
  }

  /** Handles a part of an answer; ignored if the request is not pending any more. */
  part(part: Part): void {
    this.#pending.get(part.ref)?.onPart?.(part);
    if (part.type === Type.Servers)
      this.#take(part.ref)?.resolve({ type: Type.Done, ref: part.ref, count: part.rows.length, missing: [] });
  }

  done(done: Done): void {
    const pending = this.#take(done.ref);
    pending?.resolve(done);
    pending?.onDone?.(done);
  }

  /** Returns false if no request with this `ref` is pending. */
  failed({ ref, number, reason, message }: Failed): boolean {
    const pending = this.#take(ref);
    pending?.reject(new MoorageError(reason, message, { number }));
    return pending !== undefined;
  }

  /** Rejects all pending requests. */
  rejectAll(error: MoorageError): void {
    for (const ref of [...this.#pending.keys()]) this.#take(ref)?.reject(error);
  }

  #take(ref: number): Pending | undefined {
    const pending = this.#pending.get(ref);
    if (pending === undefined) return undefined;
    this.#pending.delete(ref);
    clearTimeout(pending.timer);
    return pending;
  }
}

function requestTimeout(timeout: number): MoorageError {
  return new MoorageError("request-timeout", `The service did not answer within ${timeout} ms.`, { retry: true });
}
