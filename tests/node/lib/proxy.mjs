// A TCP proxy that can hold data back and cut connections.

import { createServer, connect } from "node:net";
import { once } from "node:events";

export class Proxy {
  static async start(targetPort) {
    const proxy = new Proxy();
    proxy._target = targetPort;
    proxy._pairs = new Set();
    /** Connections accepted so far. */
    proxy.accepted = 0;
    await proxy._listen(0);
    return proxy;
  }

  get url() {
    return `http://127.0.0.1:${this.port}`;
  }

  async _listen(port) {
    this._server = createServer((near) => this._join(near));
    this._server.listen(port, "127.0.0.1");
    await once(this._server, "listening");
    this.port = this._server.address().port;
  }

  _join(near) {
    this.accepted += 1;
    const far = connect(this._target, "127.0.0.1");
    const pair = { near, far };
    this._pairs.add(pair);
    for (const socket of [near, far]) {
      socket.setNoDelay(true);
      socket.on("error", () => {});
      socket.on("close", () => {
        near.destroy();
        far.destroy();
        this._pairs.delete(pair);
      });
    }
    near.pipe(far);
    far.pipe(near);
  }

  /** Swallows data from now on, from the dialling side (`up`) or from the target (`down`). The connections stay open.
   * A later cut loses exactly this data, like a dead network path. */
  swallow({ up = false, down = false }) {
    for (const { near, far } of this._pairs) {
      if (up) near.unpipe(far).resume();
      if (down) far.unpipe(near).resume();
    }
  }

  /** Holds back data from the dialling side from now on, until `release`. */
  hold() {
    for (const { near, far } of this._pairs) near.unpipe(far).pause();
  }

  /** Forwards the data that was held back. */
  release() {
    for (const { near, far } of this._pairs) near.pipe(far);
  }

  /** Breaks all connections, and refuses new ones until `restore`. */
  async cut() {
    this._server.close();
    for (const { near, far } of this._pairs) {
      near.resetAndDestroy();
      far.resetAndDestroy();
    }
    await once(this._server, "close");
  }

  /** Accepts connections again, at the same address. */
  async restore() {
    await this._listen(this.port);
  }

  async close() {
    if (this._server.listening) await this.cut();
  }
}
