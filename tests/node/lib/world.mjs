// The environment of one test: its own hub, app servers with Azure's package, stock clients. All are closed after the
// test.

import { fork } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";

import { Server } from "socket.io";
import { io as connect } from "socket.io-client";
import azure from "@azure/web-pubsub-socket.io";

import { Log, next, within } from "./waiting.mjs";

/** The transports of a client. `upgrade` starts with polling, and uses WebSocket when a test begins. */
export const TRANSPORTS = { websocket: ["websocket"], polling: ["polling"], upgrade: ["polling", "websocket"] };

/** Runs `body(transport)` for each of them. */
export function overEachTransport(body) {
  for (const transport of Object.keys(TRANSPORTS)) body(transport);
}

/** The copy of socket.io that the package was built with; its `Server` has `useAzureSocketIO`. */
export const ownSocketIO = createRequire(
  createRequire(import.meta.url).resolve("@azure/web-pubsub-socket.io"),
)("socket.io");

const APP_PROCESS = fileURLToPath(new URL("app-process.mjs", import.meta.url));
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
    this.hub = `Hub_${++hubs}`;
    this._closers = [];
  }

  /** Closers run at the end of the test, the last one first. */
  atEnd(closer) {
    this._closers.unshift(closer);
  }

  async close() {
    for (const closer of this._closers.splice(0)) await within(Promise.resolve(closer()), "the end of a test");
  }

  /** An app server in this process; `options` are Socket.IO's, `endpoint` is the address of a proxy to the service.
   */
  async app({ hub = this.hub, endpoint, ServerClass = Server, ...options } = {}) {
    const http = createServer();
    http.listen(0, "127.0.0.1");
    await once(http, "listening");
    const io = new ServerClass(http, options);
    io.http = http;
    this.atEnd(() => io.close());
    const azureOptions = { hub, connectionString: this.service.connectionString(endpoint) };
    await within(azure.useAzureSocketIO(io, azureOptions), "the tunnel");
    return io;
  }

  /** An app server in a process of its own. */
  async appProcess({ hub = this.hub, endpoint } = {}) {
    const app = await AppProcess.start(this.service.connectionString(endpoint), hub);
    this.atEnd(() => app.kill());
    return app;
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

/** The app server's socket of a connected client. */
export function serverSide(io, client) {
  const socket = io.of(client.nsp).sockets.get(client.id);
  if (!socket) throw new Error(`${client.id} is not known in ${client.nsp}`);
  return socket;
}

/** The events that each of `sockets` receives during `body`. A broadcast follows as a fence: broadcasts of an app
 * server arrive in order, so an event that has not arrived before it does not arrive at all. */
export async function hearing(io, sockets, body) {
  const logs = sockets.map((socket) => new Log(socket));
  await body();
  io.emit("fence");
  return Promise.all(logs.map((log) => log.upTo("fence")));
}

/** An app server in a process of its own, so that it can be killed. */
class AppProcess {
  static async start(connectionString, hub) {
    const app = new AppProcess();
    app._calls = new Map();
    app._last = 0;
    app.process = fork(APP_PROCESS, [connectionString, hub], { stdio: "inherit" });
    app._exited = once(app.process, "exit");
    app.process.on("message", ({ id, result, error }) => {
      const { resolve, reject } = app._calls.get(id);
      app._calls.delete(id);
      if (error === undefined) resolve(result);
      else reject(new Error(error));
    });
    app._exited.then(() => {
      for (const { reject } of app._calls.values()) reject(new Error("the app process has ended"));
      app._calls.clear();
    });
    await app.run(() => {});
    return app;
  }

  /** Runs `body(io, ...args)` in the other process. Only its source text is sent, so it cannot use variables of this
   * file. */
  run(body, ...args) {
    const id = ++this._last;
    const answer = new Promise((resolve, reject) => this._calls.set(id, { resolve, reject }));
    this.process.send({ id, body: body.toString(), args });
    return within(answer, `the app process: ${body}`);
  }

  /** Kills the process with SIGKILL, and waits until it has ended. */
  async kill() {
    this.process.kill("SIGKILL");
    await this._exited;
  }
}
