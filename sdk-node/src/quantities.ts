// Conversion of an app's numbers to those of the link. The link carries whole numbers from 1 on; natively socket.io
// accepts any number.

/** The longest timeout that Node.js' timers support, in milliseconds. */
const MAX_TIMEOUT = 2 ** 31 - 1;

/** A timeout. As in Node.js' timers, values below 1 and NaN become 1; `Infinity` becomes the longest timeout. */
export const milliseconds = (value: number): number => clamp(value, MAX_TIMEOUT);

/** A limit in bytes. `Infinity` becomes the largest number that the link can carry. */
export const bytes = (value: number): number => clamp(value, Number.MAX_SAFE_INTEGER);

function clamp(value: number, largest: number): number {
  return Math.min(Math.max(Math.ceil(value) || 1, 1), largest);
}
