// Numbers that an app gives, made fit for the link: it carries whole ones from 1 on, natively any will do.

/** The longest time of Node.js' own timers, in milliseconds. */
const LONGEST = 2 ** 31 - 1;

/** As timers take it: what is below 1, or no number, is 1. `Infinity` is the longest time there is. */
export const milliseconds = (value: number): number => between(value, LONGEST);

/** A limit; none at all is the largest that can be named. */
export const bytes = (value: number): number => between(value, Number.MAX_SAFE_INTEGER);

function between(value: number, largest: number): number {
  return Math.min(Math.max(Math.ceil(value) || 1, 1), largest);
}
