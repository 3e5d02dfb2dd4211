// What one test needs: a hub of its own, app servers with this package, stock clients. Closed behind it.

import { Server } from "socket.io";
import { io as connect } from "socket.io-client";

import { useMoorage } from "../../dist/esm/index.js";
import { Log, next, within } from "../../../tests/node/lib/waiting.mjs";

/** The ways a client may come. `upgrade` starts on polling and is on WebSocket when a test begins. */
export const TRANSPORTS = { websocket: ["websocket"], polling: ["polling"], upgrade: ["polling", "websocket"] };

/** Run `body(transport)` once for each way. */
export function overEachTransport(body) {
  for (const transport of Object.keys(TRANSPORTS)) body(transport);
}

let hubs = 0;

/** A fresh world on `service` for the test `t`. */
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
    /** Errors that app servers reported and no test took. */
    this.errors = [];
  }

  /** Run at the end, last added first. */
  atEnd(closer) {
    this._closers.unshift(closer);
  }

  async close() {
    for (const closer of this._closers.splice(0)) await within(Promise.resolve(closer()), "the end of a test");
    if (this.errors.length) throw new AggregateError(this.errors, `app servers reported: ${this.errors.map(String)}`);
  }

  /** An app server in this process; `options` are Socket.IO's, `moorage` those of `useMoorage`. The `Moorage`
   * is at `io.moorage`. */
  async app({ hub = this.hub, endpoint, moorage = {}, io = undefined, ...options } = {}) {
    const server = io ?? new Server(options);
    const connectionString = this.service.connectionString(endpoint);
    server.moorage = await within(useMoorage(server, { hub, connectionString, ...moorage }), "the link");
    server.moorage.on("error", (error) => this.errors.push(error));
    this.atEnd(() => server.moorage.close());
    return server;
  }

  /** A client socket that connects by itself; nothing has happened yet. */
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

  /** A client that is connected, and on its final transport. */
  async client(options = {}) {
    const socket = this.socket(options);
    const upgraded =
      (options.transport ?? this.transport) === "upgrade" ? next(socket.io.engine, "upgrade") : undefined;
    await Promise.all([connected(socket), upgraded]);
    return socket;
  }

  /** A number of them. */
  clients(count, options = {}) {
    return Promise.all(Array.from({ length: count }, () => this.client(options)));
  }

  /** Two app servers of one hub, and a pair (see `pair`) at each. */
  async cluster({ nsp = "/", ...options } = {}) {
    const [one, two] = [await this.app(options), await this.app(options)];
    return { one, two, a: await this.pairAt(one, { nsp }), b: await this.pairAt(two, { nsp }) };
  }

  /** As `pair`, where other app servers may get the client too: connects until `io` has one. */
  async pairAt(io, { nsp = "/", ...options } = {}) {
    for (;;) {
      const client = await this.client({ nsp, ...options });
      const socket = io.of(nsp).sockets.get(client.id);
      if (socket) return { client, socket };
      // It stays, or the service would find the other app server the idlest again.
    }
  }

  /** A client, and the socket that `io` has for it. */
  async pair(io, { nsp = "/", ...options } = {}) {
    const arrived = next(io.of(nsp), "connection");
    const [client, [socket]] = await Promise.all([this.client({ nsp, ...options }), arrived]);
    return { client, socket };
  }
}

/** Wait for `connect`; a `connect_error` is thrown. */
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

/** The error a connect ends with. */
export function refused(socket) {
  return within(
    new Promise((resolve, reject) => {
      socket.once("connect", () => reject(new Error("it was let in")));
      socket.once("connect_error", resolve);
    }),
    "connect_error",
  );
}

/** What each of `clients` hears of what `body` emits, by name; an emit to all comes last as a fence. */
export async function hearing(io, clients, body, nsp = "/") {
  const logs = clients.map((client) => new Log(client));
  await body();
  io.of(nsp).emit("fence");
  const heard = await Promise.all(logs.map((log) => log.upTo("fence")));
  return heard.map((events) => events.map(([name]) => name));
}
