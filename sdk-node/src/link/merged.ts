// One answer out of the answers of several sessions to the same request.

import type { Asked, Done } from "../wire/frames.js";
import type { MoorageError } from "../wire/errors.js";

export class Merged {
  /** The sum so far. */
  count = 0;
  readonly missing: string[] = [];
  /** The number of answers that each link still owes. The new home owes two: its own and the one for the lost home. */
  readonly #owed = new Map<object, number>();
  /** The links that have not told yet how many they ask. */
  readonly #silent: Map<object, number>;
  #asked: Asked | undefined;
  #succeeded = false;
  #error: MoorageError | undefined;

  constructor(links: readonly object[]) {
    for (const link of links) this.#owed.set(link, (this.#owed.get(link) ?? 0) + 1);
    this.#silent = new Map(this.#owed);
  }

  /** `link` owes one more answer. */
  also(link: object): void {
    this.#owed.set(link, (this.#owed.get(link) ?? 0) + 1);
    if (this.#asked === undefined || this.#silent.size > 0) this.#silent.set(link, (this.#silent.get(link) ?? 0) + 1);
  }

  /** True if no link owes anything. */
  get isOver(): boolean {
    return this.#owed.size === 0;
  }

  /** Set if no link has answered, and one has failed. */
  get failure(): MoorageError | undefined {
    return this.#succeeded ? undefined : this.#error;
  }

  /** Adds up the counts of all links. Returns the sum with the last link's: the asker needs the whole number. */
  asked(part: Asked, link: object): Asked | undefined {
    this.#asked = { ...part, count: part.count + (this.#asked?.count ?? 0) };
    return this.#told(link);
  }

  done(done: Done, link: object): Asked | undefined {
    this.#succeeded = true;
    this.count += done.count;
    this.#miss(done.missing);
    subtract(this.#owed, link);
    return undefined;
  }

  /** The node of `link` refuses the request. */
  failed(error: MoorageError, link: object, node: string): Asked | undefined {
    this.#error ??= error;
    this.#miss([node]);
    subtract(this.#owed, link);
    return this.#told(link);
  }

  /** No more answers come from `link`. */
  lost(error: MoorageError, link: object, node: string): Asked | undefined {
    if (!this.#owed.delete(link)) return undefined;
    this.#error ??= error;
    this.#miss([node]);
    return this.#silent.delete(link) ? this.#sum() : undefined;
  }

  #told(link: object): Asked | undefined {
    if (!this.#silent.has(link)) return undefined;
    subtract(this.#silent, link);
    return this.#sum();
  }

  #sum(): Asked | undefined {
    return this.#silent.size === 0 ? this.#asked : undefined;
  }

  #miss(names: readonly string[]): void {
    for (const name of names) if (!this.missing.includes(name)) this.missing.push(name);
  }
}

function subtract(counts: Map<object, number>, link: object): void {
  const count = counts.get(link) ?? 0;
  if (count > 1) counts.set(link, count - 1);
  else counts.delete(link);
}
