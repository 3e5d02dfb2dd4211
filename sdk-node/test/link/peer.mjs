// A scripted service, for situations that a real one does not produce: wrong bytes, silence, tiny windows. It reads
// and writes frames with a separate MessagePack library.

import { once } from "node:events";
import { ServerResponse, createServer } from "node:http";

import { decode, encode } from "@msgpack/msgpack";
import { WebSocketServer } from "ws";

import { Fleet } from "../../dist/esm/link/fleet.js";
import { within } from "../../../tests/node/lib/waiting.mjs";

const HELLO = { window: 1 << 20, maxBatch: 1 << 20, keepalive: 5000, grace: 5000 };

/** A queue of received items; `next` waits for the next one. */
class Inbox {
  #waiting = [];
  #come = [];

  put(one) {
    const taker = this.#waiting.shift();
    if (taker) taker(one);
    else this.#come.push(one);
  }

  next(what) {
    if (this.#come.length) return Promise.resolve(this.#come.shift());
    return within(new Promise((resolve) => this.#waiting.push(resolve)), what);
  }

  get all() {
    return this.#come.splice(0);
  }
}

export class Peer {
  /** Starts a peer for the test `t`, and stops it after the test. */
  static async start(t, { protocols = () => "moorage.v1" } = {}) {
    const peer = new Peer();
    peer._lines = new Inbox();
    peer._server = createServer();
    peer._refused = new Inbox();
    peer._sockets = new WebSocketServer({ noServer: true, handleProtocols: protocols });
    peer._server.on("upgrade", (request, socket, head) => peer._upgrade(request, socket, head));
    peer._server.listen(0, "127.0.0.1");
    await once(peer._server, "listening");
    peer.endpoint = `http://127.0.0.1:${peer._server.address().port}`;
    t.after(() => peer.stop());
    return peer;
  }

  /** Refuses links with this answer from now on; undefined: accepts them. */
  answer(status, body, headers = {}) {
    const text = typeof body === "string" ? body : JSON.stringify(body);
    this._answer = status && { status, text, headers };
  }

  /** The next refused link. */
  refused() {
    return this._refused.next("a refused link");
  }

  _upgrade(request, socket, head) {
    if (!this._answer) {
      this._sockets.handleUpgrade(request, socket, head, (made) => this._lines.put(new Line(made, request)));
      return;
    }
    const { status, text, headers } = this._answer;
    const response = new ServerResponse(request);
    response.assignSocket(socket);
    response.shouldKeepAlive = false;
    if (headers.date === null) response.sendDate = false;
    socket.on("error", () => {});
    response.writeHead(status, Object.fromEntries(Object.entries(headers).filter(([, value]) => value)));
    response.end(text, () => socket.end());
    this._refused.put(request);
  }

  /** The next link, before its hello. */
  line() {
    return this._lines.next("a link");
  }

  /** The next link, after the hellos. */
  async greeted(fields) {
    const line = await this.line();
    await line.greet(fields);
    return line;
  }

  /** A `Link` and its line, connected. */
  async link(t, options = {}, fields = {}) {
    const handler = new Recorder();
    const made = Fleet.connect({ endpoint: this.endpoint, key: "key", hub: "chat", handlerOf: () => handler, ...options });
    const line = await this.greeted(fields);
    const link = await within(made, "the link");
    t.after(() => link.close({ drain: 0 }));
    return { link, line, handler };
  }

  stop() {
    for (const socket of this._sockets.clients) socket.terminate();
    this._sockets.close();
    this._server.close();
    this._server.closeAllConnections();
  }
}

/** One WebSocket of an app server. */
export class Line {
  constructor(socket, request) {
    this.request = request;
    this._socket = socket;
    this._batches = new Inbox();
    this._sent = 0;
    this.closed = once(socket, "close").then(([code, reason]) => ({ code, reason: reason.toString() }));
    socket.on("message", (data) => this._batches.put(Object.assign(decode(data), { size: data.length })));
    socket.on("error", () => {});
  }

  /** Reads the hello and answers it. */
  async greet({ session = "S", resumed = false, received = 0, node = "N", recovery = 0, keeps = false, ...more } = {}) {
    const { window, maxBatch, keepalive, grace } = { ...HELLO, ...more };
    this.hello = (await this.batch())[2][0];
    this.raw([0, 0, [[0, 1, "peer", session, resumed, received, window, maxBatch, keepalive, grace, "chat", node, 0, recovery, keeps]]]);
    return this.hello;
  }

  /** The next batch, decoded: `[number, ack, frames]`. */
  batch() {
    return this._batches.next("a batch");
  }

  /** The next batch with frames. */
  async numbered() {
    for (;;) {
      const batch = await this.batch();
      if (batch[0]) return batch;
    }
  }

  /** The received batches that no test has read. */
  get others() {
    return this._batches.all;
  }

  /** Sends a numbered batch with these frames. */
  send(frames, { number = ++this._sent, ack = 0 } = {}) {
    this._sent = number;
    this.raw([number, ack, frames]);
  }

  ack(number) {
    this.raw([0, number, []]);
  }

  raw(batch) {
    this.bytes(encode(batch));
  }

  bytes(data) {
    this._socket.send(data);
  }

  close(code, reason) {
    this._socket.close(code, reason);
  }

  /** Breaks the connection, like a network failure. */
  cut() {
    this._socket.terminate();
  }
}

/** A handler that records its calls. */
export class Recorder {
  calls = [];
  #inbox = new Inbox();

  constructor() {
    for (const name of ["open", "packet", "closed", "left", "moved", "recover", "parked", "back", "query", "told", "drain", "failed"])
      this[name] = (...args) => {
        this.calls.push([name, ...args]);
        this.#inbox.put([name, ...args]);
      };
  }

  next() {
    return this.#inbox.next("a frame for the handler");
  }
}

export const packet = (client, text) => [4, client, Buffer.from(text)];
/** The only bin of a frame. */
export const payload = (frame) => Buffer.from(frame.find((field) => field instanceof Uint8Array)).toString();
