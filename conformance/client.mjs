// Stock socket.io-client sockets, as many as the suite asks for. README.md has the language.

import { createRequire } from "node:module";

import { listen, notice } from "./lines.mjs";

const require = createRequire(new URL("../tests/node/package.json", import.meta.url));
const { io: connect } = require("socket.io-client");

const PATIENCE = 60_000;
const sockets = new Map();
/** Answers that were not given, of the clients that are hushed. */
const kept = new Map();

/** What a client answers by itself, by the event's name. All else is told to the suite only. */
const ANSWERS = {
  who: (number) => [number],
  echo: (_, args) => args,
};

function watch(number, socket) {
  sockets.set(number, socket);
  socket.onAny((name, ...args) => {
    const answer = typeof args.at(-1) === "function" ? args.pop() : undefined;
    notice("event", { client: number, args: [name, ...args], wants: answer !== undefined });
    if (!answer || !Object.hasOwn(ANSWERS, name)) return;
    const give = () => answer(...ANSWERS[name](number, args));
    if (kept.has(number)) kept.get(number).push(give);
    else give();
  });
  socket.on("disconnect", (reason) => notice("disconnect", { client: number, reason }));
  socket.on("connect", () => notice("connect", { client: number, sid: socket.id }));
  return entered(socket);
}

/** Its ids once it is connected; the error that it is refused with is thrown. */
function entered(socket) {
  return new Promise((resolve, reject) => {
    socket.once("connect", () => {
      socket.off("connect_error", reject);
      resolve({ sid: socket.id, connection: socket.io.engine.id });
    });
    socket.once("connect_error", (error) => reject(Object.assign(error, { data: error.data ?? statusOf(error) })));
  });
}

/** The HTTP status that a `connect_error` comes from, where it comes from one. */
function statusOf(error) {
  if (error.message === "xhr poll error") return { status: error.description };
  const status = /Unexpected server response: (\d+)/.exec(error.description?.message ?? "");
  return status ? { status: Number(status[1]) } : undefined;
}

function of({ client }) {
  const socket = sockets.get(client);
  if (!socket) throw new Error(`no client ${client}`);
  return socket;
}

const commands = {
  open({ client, url, ns, transports, options }) {
    return watch(client, connect(url + ns, { transports, reconnection: false, forceNew: true, ...options }));
  },

  /** Another namespace on the connection of `client`, as client `as`. */
  enter: (line) => watch(line.as, of(line).io.socket(line.ns, { auth: line.auth })),

  again(line) {
    const socket = of(line);
    if (line.auth !== undefined) socket.auth = line.auth;
    const done = entered(socket);
    socket.connect();
    return done;
  },

  emit(line) {
    of(line).emit(...line.args);
  },

  /** All arguments of the answer. */
  ask: (line) =>
    new Promise((resolve, reject) => {
      const done = (error, ...answer) => (error ? reject(error) : resolve(answer));
      of(line).timeout(line.timeout ?? PATIENCE).emit(...line.args, done);
    }),

  disconnect(line) {
    of(line).disconnect();
  },

  close_engine(line) {
    of(line).io.engine.close();
  },

  /** Its connection breaks without a word. */
  vanish(line) {
    const { transport } = of(line).io.engine;
    if (transport.name === "websocket") {
      transport.ws.terminate();
    } else {
      transport.doPoll = () => {};
      transport.pollXhr.abort();
    }
  },

  /** Its connection is lost, and it knows that. */
  lose(line) {
    const { engine } = of(line).io;
    if (engine.transport.name === "websocket") engine.transport.ws.terminate();
    else engine.transport.onError("lost");
  },

  /** It hears all and says nothing, heartbeats included. */
  mute(line) {
    of(line).io.engine._sendPacket = () => {};
  },

  /** It answers nothing from here on, until `answer_late`. */
  hush({ client }) {
    kept.set(client, []);
  },

  answer_late({ client }) {
    for (const give of kept.get(client)) give();
    kept.delete(client);
  },

  /** It reads no more, until `resume`. On polling that begins when the poll that hangs has got something. */
  stall(line) {
    const { transport } = of(line).io.engine;
    if (transport.name === "websocket") {
      transport.ws._socket.pause();
      return undefined;
    }
    const { doPoll } = transport;
    transport.resume = () => {
      transport.doPoll = doPoll;
      transport.doPoll();
    };
    return new Promise((resolve) => (transport.doPoll = resolve));
  },

  resume(line) {
    const { transport } = of(line).io.engine;
    if (transport.name === "websocket") transport.ws._socket.resume();
    else transport.resume();
  },

  state(line) {
    const socket = of(line);
    const { connected, recovered, id: sid = null } = socket;
    const { _pid: pid = null, _lastOffset: offset = null } = socket;
    return { connected, recovered: recovered === true, sid, pid, offset, transport: socket.io.engine.transport.name };
  },

  /** Close and forget. */
  shut({ clients }) {
    for (const number of clients) {
      const socket = sockets.get(number);
      sockets.delete(number);
      kept.delete(number);
      socket?.offAny();
      socket?.disconnect();
      socket?.io.reconnection(false);
      socket?.io.engine?.close();
    }
  },
};

listen(commands);
notice("ready", {});
