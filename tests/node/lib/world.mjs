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

  /** An app server in a process of its own, so that it can be killed. `run` calls a function with it there. */
  async appProcess() {
    const app = await new AppProcess().app(this.hub, this.service.connectionString());
    this.atEnd(() => app.kill());
    return app;
  }

  /** An app server in another process, which all tests of a file share. `run` calls a function with it there. */
  async farApp() {
    shared ??= new AppProcess();
    const { run } = await shared.app(this.hub, this.service.connectionString());
    this.atEnd(() => run((io) => void io.close()));
    return { run };
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

/** A process with app servers. It ends with this one. */
class AppProcess {
  constructor() {
    this._calls = new Map();
    this._last = 0;
    this.process = fork(APP_PROCESS, { stdio: "inherit" });
    // This process may end while it waits for no answer.
    this.process.unref();
    this.process.channel.unref();
    this._exited = once(this.process, "exit");
    this.process.on("message", ({ id, result, error }) => {
      const { resolve, reject } = this._calls.get(id);
      this._calls.delete(id);
      if (error === undefined) resolve(result);
      else reject(new Error(error));
    });
    this._exited.then(() => {
      for (const { reject } of this._calls.values()) reject(new Error("the app process has ended"));
      this._calls.clear();
    });
  }

  /** The app server of `hub`, linked. */
  async app(hub, connectionString) {
    const run = (body, ...args) => this._run({ hub, connectionString, body: body.toString(), args });
    await run(() => {});
    return { run, kill: () => this.kill() };
  }

  /** Runs a function in the other process, with the app server as its first argument. Only its source text is sent, so
   * it cannot use variables of this file. */
  _run(call) {
    const id = ++this._last;
    const answer = new Promise((resolve, reject) => this._calls.set(id, { resolve, reject }));
    this.process.send({ id, ...call });
    return within(answer, `the app process: ${call.body}`);
  }

  /** Kills the process with SIGKILL, and waits until it has ended. */
  async kill() {
    this.process.kill("SIGKILL");
    await this._exited;
  }
}

/** The process of all app servers that no test kills: a start takes longer than most tests. */
let shared;
