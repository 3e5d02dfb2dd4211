// Functions that wait, each with a limit and a name for the failure.

/** Milliseconds. Generous, because the suite may share its machine. A successful wait never takes this long. */
export const PATIENCE = 60_000;

/** Returns `promise`, or rejects with an error that names what did not happen. */
export async function within(promise, what, ms = PATIENCE) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`waited ${ms} ms for ${what}`)), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** The arguments of the emitter's next `event`. */
export function next(emitter, event, ms = PATIENCE) {
  return within(new Promise((resolve) => emitter.once(event, (...args) => resolve(args))), `"${event}"`, ms);
}

/** Repeats `probe` until its result is truthy, for conditions that have no event. */
export async function poll(probe, what, ms = PATIENCE) {
  const end = Date.now() + ms;
  for (;;) {
    const found = await probe();
    if (found) return found;
    if (Date.now() > end) throw new Error(`waited ${ms} ms for ${what}`);
    await pause(20);
  }
}

/** For tests whose subject is time. */
export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** All events that a socket receives, in order, from now on. That an event did not arrive can only be shown by a later
 * one: emit a fence, then call `upTo` with it. */
export class Log {
  constructor(socket) {
    this.heard = [];
    this._waiting = new Set();
    socket.onAny((...event) => {
      this.heard.push(event);
      for (const look of [...this._waiting]) look();
    });
  }

  /** Returns the events before the first `name`, as `[name, ...args]`, and removes them and it from the log. */
  async upTo(name, ms = PATIENCE) {
    const at = await this._until(() => {
      const index = this.heard.findIndex((event) => event[0] === name);
      return index < 0 ? undefined : index;
    }, `"${name}"`, ms);
    const before = this.heard.slice(0, at);
    this.heard.splice(0, at + 1);
    return before;
  }

  /** The first arguments of all events `name` so far, once there are `count` of them or `last` is among them. */
  async values(name, { count = 0, last } = {}, ms = PATIENCE) {
    const values = () => this.heard.filter((event) => event[0] === name).map((event) => event[1]);
    await this._until(() => {
      const now = values();
      return now.length >= count && (last === undefined || now.includes(last)) ? true : undefined;
    }, () => `${count} × "${name}"${last === undefined ? "" : ` with ${last}`}, has ${values().length}`, ms);
    return values();
  }

  _until(look, what, ms) {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this._waiting.delete(check);
        reject(new Error(`waited ${ms} ms for ${typeof what === "function" ? what() : what}`));
      }, ms);
      const check = () => {
        const found = look();
        if (found === undefined) return;
        this._waiting.delete(check);
        clearTimeout(timer);
        resolve(found);
      };
      this._waiting.add(check);
      check();
    });
  }
}
