// What was asked of the service and is not answered yet.

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

/** By `ref`, over all sessions: a late answer of an old session cannot be taken for a new one's. */
export class Requests {
  readonly #pending = new Map<number, Pending>();
  #last = 0;

  /** A fresh `ref`. */
  next(): number {
    this.#last += 1;
    return this.#last;
  }

  /** The answer to `ref`; see `Link.request`. */
  wait(ref: number, { timeout, onPart, onDone }: RequestOptions): Promise<Done> {
    return new Promise((resolve, reject) => {
      const late = () => this.#take(ref)?.reject(tooLate(timeout ?? 0));
      const timer = timeout === undefined ? undefined : setTimeout(late, timeout);
      this.#pending.set(ref, { resolve, reject, onPart, onDone, timer });
    });
  }

  /** Part of an answer; one that nobody waits for any more is nobody's. */
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

  /** False if nobody waits for it. */
  failed({ ref, number, reason, message }: Failed): boolean {
    const pending = this.#take(ref);
    pending?.reject(new MoorageError(reason, message, { number }));
    return pending !== undefined;
  }

  /** None will be answered. */
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

function tooLate(timeout: number): MoorageError {
  return new MoorageError("request-timeout", `The service did not answer within ${timeout} ms.`, { retry: true });
}
