// Rates from totals: the service counts, the page divides.

import { UNKNOWN, decimal } from "./widgets/format.js";

/** Remembers the totals of each key, and tells how much they have grown per second since the last time. */
export class Rates {
  constructor() {
    this._before = new Map();
    this._rates = new Map();
  }

  /** Takes `rows` with the totals in `fields`; a row without an earlier one, or after a restart, has no rate yet. */
  take(rows, key, fields) {
    const now = performance.now() / 1000;
    const next = new Map();
    const rates = new Map();
    for (const row of rows) {
      const name = key(row);
      const before = this._before.get(name);
      const totals = fields.map((field) => row[field] ?? null);
      if (before !== undefined && now - before.at < 0.5) {
        next.set(name, before);
        for (const field of fields) rates.set(`${field}\n${name}`, this.get(name, field));
        continue;
      }
      next.set(name, { at: now, totals });
      fields.forEach((field, index) => {
        const grown = before === undefined || totals[index] === null ? -1 : totals[index] - before.totals[index];
        rates.set(`${field}\n${name}`, grown < 0 ? null : grown / (now - before.at));
      });
    }
    this._before = next;
    this._rates = rates;
  }

  /** The last rate, or null. */
  get(name, field) {
    return this._rates.get(`${field}\n${name}`) ?? null;
  }

  /** The same as text. */
  text(name, field) {
    const rate = this.get(name, field);
    return rate === null ? UNKNOWN : decimal(rate);
  }
}
