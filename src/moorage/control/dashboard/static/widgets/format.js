// Numbers, sizes and times as text. Every function accepts `null` or `undefined`, which means that the service does not
// know the value.

export const UNKNOWN = "–";

const whole = new Intl.NumberFormat("en");
const SIZES = ["B", "KB", "MB", "GB", "TB"];
const PARTS = [
  [86_400, "d"],
  [3600, "h"],
  [60, "min"],
  [1, "s"],
];

function isKnown(value) {
  return typeof value === "number" && Number.isFinite(value);
}

/** 12,345 */
export function count(value) {
  return isKnown(value) ? whole.format(Math.round(value)) : UNKNOWN;
}

/** 1,234 or 12.5 or 0.25 or <0.01: three digits that count, for rates and CPU. */
export function decimal(value) {
  if (!isKnown(value)) return UNKNOWN;
  const size = Math.abs(value);
  if (size >= 100 || Number.isInteger(value)) return count(value);
  return size < 0.01 ? "<0.01" : value.toFixed(size < 1 ? 2 : 1);
}

/** 12k or 3.4M, for the axis of a chart. */
export function short(value) {
  if (!isKnown(value)) return "";
  const size = Math.abs(value);
  if (size >= 1e6) return `${Number((value / 1e6).toFixed(1))}M`;
  if (size >= 1e3) return `${Number((value / 1e3).toFixed(1))}k`;
  return String(Number(value.toFixed(size < 1 ? 3 : 2)));
}

/** 7.5 MB or 12 MB, with 1 KB = 1,024 bytes. */
export function bytes(value) {
  if (!isKnown(value)) return UNKNOWN;
  let unit = 0;
  while (Math.abs(value) >= 1024 && unit < SIZES.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${unit === 0 || value >= 10 ? Math.round(value) : Number(value.toFixed(1))} ${SIZES[unit]}`;
}

/** 3 h 12 min: the two largest units of a time in seconds. */
export function duration(seconds) {
  if (!isKnown(seconds)) return UNKNOWN;
  let rest = Math.max(0, Math.floor(seconds));
  const shown = [];
  for (const [size, name] of PARTS) {
    const amount = Math.floor(rest / size);
    if (amount > 0 || (name === "s" && shown.length === 0)) shown.push(`${amount} ${name}`);
    else if (shown.length === 1) break;
    rest -= amount * size;
    if (shown.length === 2) break;
  }
  return shown.join(" ");
}

/** 12.5 ms or 1.2 s, from seconds. */
export function latency(seconds) {
  if (!isKnown(seconds)) return UNKNOWN;
  if (seconds >= 1) return `${Number(seconds.toFixed(1))} s`;
  const milliseconds = seconds * 1000;
  return `${milliseconds >= 100 ? Math.round(milliseconds) : Number(milliseconds.toFixed(1))} ms`;
}

function two(number, digits = 2) {
  return String(number).padStart(digits, "0");
}

/** 14:03:07 in the reader's time zone, from epoch seconds; with `.123` if `precise`. */
export function clock(epoch, precise = false) {
  if (!isKnown(epoch)) return UNKNOWN;
  const time = new Date(epoch * 1000);
  const text = `${two(time.getHours())}:${two(time.getMinutes())}:${two(time.getSeconds())}`;
  return precise ? `${text}.${two(time.getMilliseconds(), 3)}` : text;
}

/** 14:03:07 if that is today, otherwise with the date in front: 2026-05-01 14:03:07. */
export function moment(epoch) {
  if (!isKnown(epoch)) return UNKNOWN;
  const time = new Date(epoch * 1000);
  if (time.toDateString() === new Date().toDateString()) return clock(epoch);
  return `${time.getFullYear()}-${two(time.getMonth() + 1)}-${two(time.getDate())} ${clock(epoch)}`;
}

/** "1 client", "2 clients" */
export function plural(number, one, many = `${one}s`) {
  return `${count(number)} ${number === 1 ? one : many}`;
}
