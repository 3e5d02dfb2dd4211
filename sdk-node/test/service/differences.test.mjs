// The differences of docs/explanation/differences.md, each shown natively and behind a service.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, before, test } from "node:test";

import { Server } from "socket.io";
import { io as connect } from "socket.io-client";

import { useMoorage } from "../../dist/esm/index.js";
import { Service } from "../../../tests/node/lib/service.mjs";
import { Log, next, poll } from "../../../tests/node/lib/waiting.mjs";

const NATIVE = "natively";
const BEHIND = "behind Moorage";

let service;
let hubs = 0;
before(async () => (service = await Service.start()));
after(() => service.stop());

/** A server of either kind that is closed after the test. */
async function start(t, kind, options = {}) {
  const http = createServer();
  const io = new Server(http, options);
  await new Promise((done) => http.listen(0, "127.0.0.1", done));
  const clients = [];
  t.after(() => {
    for (const client of clients) client.disconnect();
    io.close();
  });
  const hub = `differences_${++hubs}`;
  const lines = [];
  const log = (line) => lines.push(line);
  if (kind === BEHIND) await useMoorage(io, { hub, connectionString: service.connectionString(), log });
  const [url, path] = kind === BEHIND ? [service.url, `/clients/socketio/hubs/${hub}`] : [`http://127.0.0.1:${http.address().port}`, "/socket.io/"];
  const client = (more = {}) => {
    const made = connect(url, { path, transports: ["websocket"], reconnection: false, forceNew: true, ...more });
    clients.push(made);
    return made;
  };
  const pair = async (more) => {
    const connection = next(io, "connection");
    const made = client(more);
    const [socket] = await connection;
    if (!made.connected) await next(made, "connect");
    return { client: made, socket };
  };
  return { io, url: `${url}${path}`, client, pair, lines };
}

/** `body(server)` returns the observed result; `expected` has the result for each kind. */
function differs(name, expected, body, options) {
  for (const kind of [NATIVE, BEHIND])
    test(`[repair 23] ${name}: ${kind}`, async (t) => assert.deepEqual(await body(await start(t, kind, options), t), expected[kind]));
}

differs(
  "socketsJoin and disconnectSockets in the same turn",
  { [NATIVE]: [true, false, true, false], [BEHIND]: [false, true, true, false] },
  async ({ io, pair }) => {
    const { socket } = await pair();
    io.in(socket.id).socketsJoin("room");
    const joined = socket.rooms.has("room");
    await poll(() => socket.rooms.has("room"), "the room");
    const inRoom = socket.rooms.has("room");
    io.in(socket.id).disconnectSockets();
    const connected = socket.connected;
    await poll(() => !socket.connected, "the end");
    return [joined, connected, inRoom, socket.connected];
  },
);

differs("a number names the same room as its text", { [NATIVE]: ["number"], [BEHIND]: ["number", "text"] }, async ({ io, pair }) => {
  const { client, socket } = await pair();
  const log = new Log(client);
  await socket.join(7);
  io.to(7).emit("to", "number");
  io.to("7").emit("to", "text");
  socket.emit("end");
  return (await log.upTo("end")).map(([, word]) => word);
});

differs("a volatile emit right after another emit", { [NATIVE]: ["one"], [BEHIND]: ["one", "two"] }, async ({ io, pair }) => {
  const { client } = await pair();
  const log = new Log(client);
  io.emit("say", "one");
  io.volatile.emit("say", "two");
  await new Promise((done) => setImmediate(done));
  io.emit("end");
  return (await log.upTo("end")).map(([, word]) => word);
});

differs("a client's emit right before it disconnects", { [NATIVE]: ["disconnect"], [BEHIND]: ["bye", "disconnect"] }, async ({ pair }) => {
  const { client, socket } = await pair();
  const heard = [];
  socket.on("bye", () => heard.push("bye"));
  const ended = next(socket, "disconnect");
  socket.on("disconnect", () => heard.push("disconnect"));
  client.emit("bye");
  client.disconnect();
  await ended;
  return heard;
});

differs(
  "a value that has no JSON form",
  { [NATIVE]: "Do not know how to serialize a BigInt", [BEHIND]: 'cannot be sent: "say", argument 1, .user.id is a BigInt' },
  async ({ pair }) => {
    const { socket } = await pair();
    try {
      socket.emit("say", { user: { id: 1n } });
    } catch (error) {
      return error.message;
    }
    return "nothing thrown";
  },
);

differs("headers that an engine middleware sets, and the option cookie", { [NATIVE]: ["x=1", true, 1], [BEHIND]: [null, false, 0] }, async ({ io, url }) => {
  let initial = 0;
  io.engine.on("initial_headers", () => (initial += 1));
  io.engine.use((request, response, go) => {
    response.setHeader("x-of-the-app", "x=1");
    go();
  });
  const answer = await fetch(`${url}?EIO=4&transport=polling`);
  await answer.text();
  return [answer.headers.get("x-of-the-app"), (answer.headers.get("set-cookie") ?? "").startsWith("io="), initial];
}, { cookie: true });

differs("a client of Engine.IO 3 with allowEIO3", { [NATIVE]: 200, [BEHIND]: 400 }, async ({ url }) => {
  const answer = await fetch(`${url}?EIO=3&transport=polling`);
  await answer.text();
  return answer.status;
}, { allowEIO3: true });

/** The client of a pair loses its connection and comes back; its new socket. */
async function comesBack(io, { client, socket }) {
  const gone = next(socket, "disconnect");
  client.io.engine.close();
  await gone;
  const connection = next(io, "connection");
  client.connect();
  const [again] = await connection;
  return again;
}

differs("a client that has received no event yet comes back", { [NATIVE]: false, [BEHIND]: true }, async ({ io, pair }) => (await comesBack(io, await pair())).recovered, {
  connectionStateRecovery: {},
});

differs("data of a recovered socket", { [NATIVE]: new Date(0), [BEHIND]: "1970-01-01T00:00:00.000Z" }, async ({ io, pair }) => {
  const both = await pair();
  both.socket.data.since = new Date(0);
  both.socket.emit("first");
  await next(both.client, "first");
  return (await comesBack(io, both)).data.since;
}, { connectionStateRecovery: {} });

differs("101 namespaces on one connection", { [NATIVE]: [true, true], [BEHIND]: [false, false] }, async ({ io, pair }) => {
  io.of(/^\/n\d+$/);
  const { client } = await pair();
  let ended = false;
  client.on("disconnect", () => (ended = true));
  const entered = new Set();
  for (let number = 0; number < 101; number += 1) client.io.socket(`/n${number}`).on("connect", () => entered.add(number));
  await poll(() => ended || entered.size === 101, "all of them, or the end");
  return [entered.size === 101, client.connected];
});

differs("a room's name of 2,049 characters", { [NATIVE]: "joined", [BEHIND]: "link-bad-request" }, async ({ pair }) => {
  const { socket } = await pair();
  try {
    await socket.join("r".repeat(2049));
    return "joined";
  } catch (error) {
    return error.reason;
  }
});

differs("20 MB emitted in one turn", { [NATIVE]: "goes on", [BEHIND]: "link-overflow" }, async ({ io, pair }) => {
  await pair();
  const text = "x".repeat(1_000_000);
  try {
    for (let times = 0; times < 20; times += 1) io.emit("say", text);
    return "goes on";
  } catch (error) {
    return error.reason;
  }
});

differs("the option transports", { [NATIVE]: "refused", [BEHIND]: "connected" }, async ({ client }) => {
  const made = client();
  return await Promise.race([next(made, "connect").then(() => "connected"), next(made, "connect_error").then(() => "refused")]);
}, { transports: ["polling"] });

// Natively, with an adapter between processes, each process calls the listeners of its sockets for emits of all
// processes.
test("[repair 23] onAnyOutgoing is called for emits of this app server, not for those of others", async (t) => {
  const { io, pair } = await start(t, BEHIND);
  const other = new Server();
  t.after(() => other.close());
  await useMoorage(other, { hub: `differences_${hubs}`, connectionString: service.connectionString() });
  const { client, socket } = await pair();
  const outgoing = [];
  socket.onAnyOutgoing((name) => outgoing.push(name));
  other.emit("of the other");
  await next(client, "of the other");
  io.emit("of its own");
  await next(client, "of its own");
  assert.deepEqual(outgoing, ["of its own"]);
});
