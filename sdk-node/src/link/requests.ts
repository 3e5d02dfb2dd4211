// Requests to the service that are not answered yet.

import { MoorageError } from "../wire/errors.js";
import { Type, type Asked, type Done, type Failed, type Part } from "../wire/frames.js";
import { Merged } from "./merged.js";
import type { RequestOptions } from "./types.js";

interface Pending {
  readonly resolve: (done: Done) => void;
  readonly reject: (error: Error) => void;
  readonly onPart: RequestOptions["onPart"];
  readonly onDone: RequestOptions["onDone"];
  readonly timer: NodeJS.Timeout | undefined;
  /** The link that the answer comes from. */
  readonly link: object;
  /** Set if the answers of several links make up the answer. */
  readonly merged: Merged | undefined;
}

/** Pending requests of all links by `ref`. A `ref` is never used twice, in any session, so a late answer to a request of
 * a lost session cannot reach a newer request. */
export class Requests {
  readonly #pending = new Map<number, Pending>();
  #last = 0;

  /** Returns an unused `ref`. */
  next(): number {
    this.#last += 1;
    return this.#last;
  }

  /** Resolves with the answer to `ref`, which was sent to each of `links`; see `Fleet.request`. */
  wait(ref: number, links: readonly object[], { timeout, onPart, onDone }: RequestOptions): Promise<Done> {
    return new Promise((resolve, reject) => {
      const late = () => this.#take(ref)?.reject(requestTimeout(timeout ?? 0));
      const timer = timeout === undefined ? undefined : setTimeout(late, timeout);
      const merged = links.length > 1 ? new Merged(links) : undefined;
      this.#pending.set(ref, { resolve, reject, onPart, onDone, timer, link: links[0] as object, merged });
    });
  }

  /** The request `ref` was also sent to `link`, for a link that was lost. Call it before `lost`. */
  also(ref: number, link: object): void {
    this.#pending.get(ref)?.merged?.also(link);
  }

  /** Handles a part of an answer; ignored if the request is not pending any more. */
  part(part: Part, link: object): void {
    const pending = this.#pending.get(part.ref);
    if (pending === undefined) return;
    if (part.type === Type.Asked && pending.merged !== undefined) passOn(pending, pending.merged.asked(part, link), link);
    else passOn(pending, part, link);
    if (part.type === Type.Servers) this.done({ type: Type.Done, ref: part.ref, count: part.rows.length, missing: [] }, link);
  }

  done(done: Done, link: object): void {
    const pending = this.#pending.get(done.ref);
    if (pending === undefined) return;
    if (pending.merged === undefined) this.#end(pending, done);
    else this.#merge(done.ref, pending, () => pending.merged?.done(done, link), link);
  }

  /** Returns false if no request with this `ref` is pending. `node`: the name of the node that failed. */
  failed({ ref, number, reason, message }: Failed, link: object, node: string): boolean {
    const pending = this.#pending.get(ref);
    if (pending === undefined) return false;
    const error = new MoorageError(reason, message, { number });
    if (pending.merged === undefined) this.#take(ref)?.reject(error);
    else this.#merge(ref, pending, () => pending.merged?.failed(error, link, node), link);
    return true;
  }

  /** The session of `link`, at the node of this name, is lost with all answers to come. */
  lost(link: object, node: string, error: MoorageError): void {
    for (const [ref, pending] of [...this.#pending]) {
      if (pending.merged === undefined) {
        if (pending.link === link) this.#take(ref)?.reject(error);
      } else this.#merge(ref, pending, () => pending.merged?.lost(error, link, node), link);
    }
  }

  /** Rejects all pending requests. */
  rejectAll(error: MoorageError): void {
    for (const ref of [...this.#pending.keys()]) this.#take(ref)?.reject(error);
  }

  #merge(ref: number, pending: Pending, change: () => Asked | undefined | void, link: object): void {
    const { merged } = pending as { merged: Merged };
    passOn(pending, change() ?? undefined, link);
    if (!merged.isOver) return;
    if (merged.failure !== undefined) this.#take(ref)?.reject(merged.failure);
    else this.#end(pending, { type: Type.Done, ref, count: merged.count, missing: merged.missing });
  }

  #end(pending: Pending, done: Done): void {
    this.#take(done.ref);
    pending.resolve(done);
    pending.onDone?.(done);
  }

  #take(ref: number): Pending | undefined {
    const pending = this.#pending.get(ref);
    if (pending === undefined) return undefined;
    this.#pending.delete(ref);
    clearTimeout(pending.timer);
    return pending;
  }
}

function passOn(pending: Pending, part: Part | undefined, link: object): void {
  if (part !== undefined) pending.onPart?.(part, link);
}

function requestTimeout(timeout: number): MoorageError {
  return new MoorageError("request-timeout", `The service did not answer within ${timeout} ms.`, { retry: true });
}
