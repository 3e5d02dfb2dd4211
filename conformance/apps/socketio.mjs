// An app server on a stock `socket.io` Server, driven by the suite. README.md has the language.

import { createServer } from "node:http";

import { listen, notice, perform } from "../lines.mjs";

let io;

/** What a socket's events are answered with, by their names. All events are told to the suite. */
const ANSWERS = {
  echo: (answer, args) => answer?.(...args),
  silent() {},
  throw() {
    throw new Error("thrown by the app's handler");
  },
};

/** What the protocols' own suites expect of an app. */
export function mirror(socket) {
  socket.emit("auth", socket.handshake.auth);
  socket.on("message", (...args) => socket.emit("message-back", ...args));
  socket.on("message-with-ack", (...args) => args.pop()(...args));
}

/** The same for events of other app servers. */
const TOLD = {
  who: (answer, label) => answer?.(label),
  silent() {},
  note() {},
};

/** Speak the language. `attach(io, {hub, connectionString})` puts a `Server` behind the service and gives its
 * server id, if it has one to tell; `missing` says whose sockets a `fetchSockets` knows only in part. */
export function app({ Server, attach, missing = () => [] }) {
  let label;

  async function start(line) {
    label = line.label;
    const { requestsTimeout, turnAway, quietRecovery, ...native } = line.options ?? {};
    io = new Server(createServer(), native);
    if (turnAway) io.engine.use((request, response, next) => guard(request, response, next, turnAway));
    const options = { hub: line.hub, connectionString: line.connection_string, quietRecovery, ...(requestsTimeout && { requestsTimeout }) };
    return { server: (await attach(io, options)) ?? null };
  }

  async function fetch(line) {
    const at = target(line);
    const sockets = await (line.timeout === undefined ? at : at.timeout(line.timeout)).fetchSockets();
    return { sockets: sockets.map(facts), missing: missing(sockets) };
  }

  /** Answer and tell all that happens in namespace `ns`, and do `on_connect` for each socket. */
  function define({ ns, pattern, suite, refuse = [], refuse_events: refused = [], on_connect: steps = [], outgoing, listen: names = [] }) {
    const space = io.of(pattern === undefined ? ns : new RegExp(pattern));
    if (suite) return void space.on("connection", mirror);
    if (refuse.length) space.use((socket, next) => next(verdict(socket.handshake.auth, refuse)));
    space.on("connection", async (socket) => {
      const about = { ns: socket.nsp.name, sid: socket.id };
      watch(socket, about, refused);
      // `onAny` hears events before middlewares, and when nobody may hear them any more.
      for (const name of names) socket.on(name, (...args) => notice("handled", { ...about, args: [name, ...args] }));
      if (outgoing) socket.onAnyOutgoing((...args) => notice("outgoing", { ...about, args }));
      await perform(commands, { do: "batch", commands: steps.map((step) => ({ ...step, ...about })) });
      if (steps.length) notice("prepared", about);
    });
    if (pattern !== undefined) return;
    for (const name of Object.keys(TOLD)) {
      space.on(name, (...args) => {
        const answer = typeof args.at(-1) === "function" ? args.pop() : undefined;
        notice("told", { ns, args: [name, ...args] });
        TOLD[name](answer, label);
      });
    }
  }

  listen({ ...commands, start, define, fetch });
  notice("ready", {});
}

/** An engine's middleware: requests with this header do not get in. */
function guard(request, response, next, header) {
  if (request.headers[header] === undefined) return next();
  response.writeHead(403);
  response.end("turned away");
}

/** The first of `rules` whose `auth` is the client's refuses it. */
function verdict(auth, rules) {
  const rule = rules.find(({ auth: wanted }) => Object.entries(wanted).every(([name, value]) => auth[name] === value));
  return rule && Object.assign(new Error(rule.message), rule.data === undefined ? {} : { data: rule.data });
}

function watch(socket, about, refused) {
  notice("connection", { ...about, handed_over: socket.handedOver === true, recovered: socket.recovered === true });
  if (refused.length) {
    socket.use(([name], next) => next(refused.includes(name) ? new Error(`no ${name} here`) : undefined));
    socket.on("error", (error) => notice("socket_error", { ...about, message: error.message }));
  }
  socket.onAny((name, ...args) => {
    const answer = typeof args.at(-1) === "function" ? args.pop() : undefined;
    notice("event", { ...about, args: [name, ...args] });
    if (Object.hasOwn(ANSWERS, name)) ANSWERS[name](answer, args);
    else answer?.();
  });
  socket.on("disconnecting", () => notice("disconnecting", { ...about, rooms: [...socket.rooms] }));
  socket.on("disconnect", (reason) => notice("disconnect", { ...about, reason }));
}

function socketOf({ ns, sid }) {
  const socket = io.of(ns).sockets.get(sid);
  if (!socket) throw new Error(`no socket ${sid} in ${ns}`);
  return socket;
}

/** Whom a command is for: of a namespace, `to` rooms, `except` rooms, all but the socket `from`. */
function target({ ns, to, except, from, flags = {} }) {
  let at = from === undefined ? io.of(ns) : socketOf({ ns, sid: from }).broadcast;
  if (to !== undefined) at = at.to(to);
  if (except !== undefined) at = at.except(except);
  if (flags.volatile) at = at.volatile;
  if (flags.local) at = at.local;
  if (flags.compress !== undefined) at = at.compress(flags.compress);
  return at;
}

const commands = {
  /** A pattern stays with a `Server` for good; no other scenario has names that match it. */
  undefine() {},

  emit(line) {
    target(line).emit(...line.args);
  },

  send(line) {
    const socket = socketOf(line);
    (line.flags?.volatile ? socket.volatile : socket).emit(...line.args);
  },

  message(line) {
    (line.sid === undefined ? target(line) : socketOf(line)).send(...line.args);
  },

  /** Something with any app server's socket, as `fetchSockets` gives it. */
  async remote(line) {
    const [socket] = await io.of(line.ns).in(line.sid).fetchSockets();
    const acts = {
      emit: () => void socket.emit(...line.args),
      ask: () => socket.timeout(line.timeout).emitWithAck(...line.args),
      join: () => void socket.join(line.rooms),
      leave: () => line.rooms.forEach((room) => socket.leave(room)),
      disconnect: () => void socket.disconnect(line.close),
    };
    return acts[line.act]();
  },

  /** Answers of many, and whether all have answered. */
  async ask(line) {
    try {
      const answers = await target(line).timeout(line.timeout).emitWithAck(...line.args);
      return { answers, complete: true };
    } catch (error) {
      if (error.responses === undefined) throw error;
      return { answers: error.responses, complete: false, missing: error.missing ?? null };
    }
  },

  /** The arguments of one socket's answer. */
  ask_socket: (line) =>
    new Promise((resolve, reject) => {
      const done = (error, ...answer) => (error ? reject(error) : resolve(answer));
      socketOf(line).timeout(line.timeout).emit(...line.args, done);
    }),

  join: async (line) => void (await socketOf(line).join(line.rooms)),
  leave: async (line) => void (await Promise.all(line.rooms.map((room) => socketOf(line).leave(room)))),
  rooms: (line) => [...socketOf(line).rooms],
  sids: (line) => [...io.of(line.ns).sockets.keys()],
  all_sockets: async (line) => [...(await target(line).allSockets())],
  sockets_join: async (line) => void (await target(line).socketsJoin(line.rooms)),
  sockets_leave: async (line) => void (await target(line).socketsLeave(line.rooms)),
  empty: async ({ ns, rooms }) => void (await io.of(ns).in(rooms).socketsLeave(rooms[0])),
  disconnect_sockets: async (line) => void (await target(line).disconnectSockets(line.close)),

  handshake: (line) => {
    const socket = socketOf(line);
    return { ...facts(socket).handshake, claims: socket.request.claims ?? null, connection: socket.conn.id };
  },

  set_data(line) {
    socketOf(line).data = line.data;
  },

  disconnect(line) {
    socketOf(line).disconnect(line.close);
  },

  close_connection(line) {
    socketOf(line).conn.close();
  },

  tell(line) {
    io.of(line.ns).serverSideEmit(...line.args);
  },

  tell_and_ask: (line) =>
    new Promise((resolve) => {
      const done = (error, answers) => resolve({ answers, complete: !error, missing: error?.missing ?? null });
      io.of(line.ns).serverSideEmit(...line.args, done);
    }),

  hand_over: () => io.handOver(),
  server_count: (line) => io.of(line.ns).adapter.serverCount(),
  close: async () => void (await io.close()),
};

function facts({ id, rooms, data, handshake }) {
  const { auth, headers, query, address = null, secure, url, issued } = handshake;
  return { id, rooms: [...rooms], data, handshake: { auth, headers, query, address, secure, url, issued } };
}
