// The refresh of the page that is shown. It rests while the tab is hidden, and goes on at once when it is shown again.

const SLOWEST_SECONDS = 10;

/**
 * Calls `load(signal)` every `seconds`, and `show` with what it returns, or `fail` with the error. A load begins only
 * after the last one has ended. After a failure it tries again soon, and then less often.
 */
export class Live {
  constructor({ load, show, fail, seconds }) {
    this._load = load;
    this._show = show;
    this._fail = fail;
    this._seconds = seconds;
    this._failures = 0;
    this._timer = 0;
    this._running = null;
    this._paused = false;
    this._onVisible = () => this._schedule(0);
    document.addEventListener("visibilitychange", this._onVisible);
    this.now();
  }

  /** Loads now, also if the refresh is paused. What is under way is given up. */
  now() {
    this._running?.abort();
    this._running = null;
    clearTimeout(this._timer);
    void this._once();
  }

  /** Stops or continues the refresh. */
  pause(paused) {
    this._paused = paused;
    this._schedule(0);
  }

  /** Ends it. */
  close() {
    document.removeEventListener("visibilitychange", this._onVisible);
    clearTimeout(this._timer);
    this._running?.abort();
    this._running = null;
    this._closed = true;
  }

  _schedule(seconds) {
    clearTimeout(this._timer);
    if (this._closed || this._paused || document.hidden || this._running) return;
    this._timer = setTimeout(() => this._once(), seconds * 1000);
  }

  async _once() {
    const running = (this._running = new AbortController());
    let shown;
    try {
      const data = await this._load(running.signal);
      shown = () => this._show(data);
      this._failures = 0;
    } catch (error) {
      shown = () => this._fail(error);
      this._failures += 1;
    }
    if (this._running !== running) return; // closed, or begun anew
    this._running = null;
    this._schedule(this._failures === 0 ? this._seconds : Math.min(SLOWEST_SECONDS, 1 + this._failures));
    shown();
  }
}
