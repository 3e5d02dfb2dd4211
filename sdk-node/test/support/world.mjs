// The environment of one test: its own hub, app servers with this package, stock clients. All are closed after the
// test.

import { Server } from "socket.io";
import { io as connect } from "socket.io-client";

import { useMoorage } from "../../dist/esm/index.js";
import { Log, next, within } from "../../../tests/node/lib/waiting.mjs";

/** The transports of a client. `upgrade` starts with polling, and uses WebSocket when a test begins. */
export const TRANSPORTS = { websocket: ["websocket"], polling: ["polling"], upgrade: ["polling", "websocket"] };

/** Runs `body(transport)` for each of them. */
export function overEachTransport(body) {
  for (const transport of Object.keys(TRANSPORTS)) body(transport);
}

let hubs = 0;

/** A new world on `service` for the test `t`. */
export function world(t, service, transport = "websocket") {
  const made = new World(service, transport);
  t.after(() => made.close());
  return made;
}

class World {
  constructor(service, transport) {
    this.service = service;
    this.transport = transport;
    this.hub = `hub_${++hubs}`;
    this._closers = [];
    /** Errors that app servers reported and no test expected. */
    this.errors = [];
  }

  /** Closers run at the end of the test, the last one first. */
  atEnd(closer) {
    this._closers.unshift(closer);
  }

  async close() {
    for (const closer of this._closers.splice(0)) await within(Promise.resolve(closer()), "the end of a test");
    if (this.errors.length) throw new AggregateError(this.errors, `app servers reported: ${this.errors.map(String)}`);
  }

  /** An app server in this process. `options` are Socket.IO's, `moorage` those of `useMoorage`. The `Moorage` is
   * `io.moorage`. */
  async app({ hub = this.hub, endpoint, moorage = {}, io = undefined, ...options } = {}) {
    const server = io ?? new Server(options);
    const connectionString = this.service.connectionString(endpoint);
    server.moorage = await within(useMoorage(server, { hub, connectionString, ...moorage }), "the link");
    server.moorage.on("error", (error) => this.errors.push(error));
    this.atEnd(() => server.moorage.close());
    return server;
  }

  /** A client socket that connects automatically; it is not connected yet. */
  socket({ hub = this.hub, nsp = "/", transport = this.transport, url = this.service.url, ...options } = {}) {
    const socket = connect(url + nsp, {
      path: `/clients/socketio/hubs/${hub}`,
      transports: TRANSPORTS[transport],
      reconnection: false,
      forceNew: true,
      ...options,
    });
    this.atEnd(() => {
      socket.disconnect();
      socket.io.reconnection(false);
      socket.io.engine?.close();
    });
    return socket;
  }

  /** A connected client, on its final transport. */
  async client(options = {}) {
    const socket = this.socket(options);
    const upgraded =
      (options.transport ?? this.transport) === "upgrade" ? next(socket.io.engine, "upgrade") : undefined;
    await Promise.all([connected(socket), upgraded]);
    return socket;
  }

  /** `count` connected clients. */
  clients(count, options = {}) {
    return Promise.all(Array.from({ length: count }, () => this.client(options)));
  }

  /** Two app servers of one hub, and a pair (see `pair`) at each. */
  async cluster({ nsp = "/", ...options } = {}) {
    const [one, two] = [await this.app(options), await this.app(options)];
    return { one, two, a: await this.pairAt(one, { nsp }), b: await this.pairAt(two, { nsp }) };
  }

  /** Like `pair`, if other app servers may get the client too: connects clients until `io` has one. */
  async pairAt(io, { nsp = "/", ...options } = {}) {
    for (;;) {
      const client = await this.client({ nsp, ...options });
      const socket = io.of(nsp).sockets.get(client.id);
      if (socket) return { client, socket };
      // The client stays connected; otherwise the service would choose the same idle app server again.
    }
  }

  /** A client, and the socket that `io` has for it. */
  async pair(io, { nsp = "/", ...options } = {}) {
    const arrived = next(io.of(nsp), "connection");
    const [client, [socket]] = await Promise.all([this.client({ nsp, ...options }), arrived]);
    return { client, socket };
  }
}

/** Waits for `connect`; throws a `connect_error`. */
export function connected(socket) {
  if (socket.connected) return Promise.resolve();
  return within(
    new Promise((resolve, reject) => {
      socket.once("connect", resolve);
      socket.once("connect_error", reject);
    }),
    "connect",
  );
}

/** The error with which a connect fails. */
export function refused(socket) {
  return within(
    new Promise((resolve, reject) => {
      socket.once("connect", () => reject(new Error("it was let in")));
      socket.once("connect_error", resolve);
    }),
    "connect_error",
  );
}

/** The events that each of `clients` receives during `body`, by name. An emit to all clients follows as a fence. */
export async function hearing(io, clients, body, nsp = "/") {
  const logs = clients.map((client) => new Log(client));
  await body();
  io.of(nsp).emit("fence");
  const heard = await Promise.all(logs.map((log) => log.upTo("fence")));
  return heard.map((events) => events.map(([name]) => name));
}
