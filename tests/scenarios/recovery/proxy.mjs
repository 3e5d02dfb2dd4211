// A TCP hop in front of the service whose connections can be cut or frozen, at once or in the middle of a message.

import net from "node:net";

export class Hop {
  #links = new Set();

  constructor(target, budget) {
    this.budget = budget;
    this.server = net.createServer((near) => this.#open(near, target));
  }

  async listen() {
    await new Promise((resolve) => this.server.listen(0, "127.0.0.1", resolve));
    return this.server.address().port;
  }

  #open(near, target) {
    const far = net.connect(target.port, target.host);
    // The next connection ends after this number of bytes for the client; Infinity for never.
    const link = { near, far, left: this.budget() };
    this.#links.add(link);
    near.on("data", (data) => far.write(data));
    far.on("data", (data) => {
      if (link.left > data.length) near.write(data);
      else near.write(data.subarray(0, link.left), () => this.#end(link));
      link.left -= Math.min(link.left, data.length);
    });
    for (const end of [near, far]) {
      end.setNoDelay(true);
      end.on("error", () => this.#end(link));
      end.on("close", () => link.silent || this.#end(link));
    }
  }

  #end(link) {
    link.silent = false;
    link.near.destroy();
    link.far.destroy();
    this.#links.delete(link);
  }

  // Both ends notice.
  cut() {
    for (const link of this.#links) this.#end(link);
  }

  // Only the client notices; the service keeps a dead connection for some time.
  half(milliseconds) {
    for (const link of this.#links) {
      link.silent = true;
      link.far.removeAllListeners("data");
      link.far.resume();
      link.near.destroy();
      setTimeout(() => this.#end(link), milliseconds);
    }
  }

  // Nobody notices at first. What is under way is lost.
  freeze(milliseconds) {
    for (const link of this.#links) {
      link.near.pause();
      link.far.pause();
      setTimeout(() => this.#end(link), milliseconds);
    }
  }

  close() {
    this.cut();
    this.server.close();
  }
}
