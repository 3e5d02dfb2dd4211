// How an app sees its clients, and how it accepts or refuses them.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { EventEmitter, once } from "node:events";
import { createServer, IncomingMessage, request as httpRequest } from "node:http";

import { Server } from "socket.io";
import { Decoder, Encoder } from "socket.io-parser";

import { claimsOf, userIdOf } from "../../dist/esm/index.js";
import { Service } from "../../../tests/node/lib/service.mjs";
import { next, poll } from "../../../tests/node/lib/waiting.mjs";
import { overEachTransport, refused, world } from "../support/world.mjs";

let service;
before(async () => (service = await Service.start()));
after(() => service.stop());

/** A client without a library: opens a session over polling and sends `packets`; returns the content of the OPEN
 * packet. */
async function rawClient(w, ...packets) {
  const url = `${service.url}/clients/socketio/hubs/${w.hub}/?EIO=4&transport=polling`;
  const open = JSON.parse((await (await fetch(url)).text()).slice(1));
  for (const body of packets) await fetch(`${url}&sid=${open.sid}`, { method: "POST", body });
  return { ...open, poll: () => fetch(`${url}&sid=${open.sid}`).then((answer) => answer.text()) };
}

/** The HTTP status with which a WebSocket handshake is refused. */
function statusOfUpgrade(url) {
  const headers = { connection: "Upgrade", upgrade: "websocket", "sec-websocket-version": "13", "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==" };
  return new Promise((resolve, reject) => {
    const asking = httpRequest(url, { headers }, (response) => response.resume().on("end", () => resolve(response.statusCode)));
    asking.on("error", reject).end();
  });
}

describe("the request", () => {
  test("is that of the client, with claims and user", async (t) => {
    const w = world(t, service);
    const io = await w.app();
    const token = service.token(w.hub, { sub: "ada", userId: "ada", role: ["a", "b"] });
    const { socket } = await w.pair(io, {
      query: { access_token: token, n: 1 },
      extraHeaders: { cookie: "a=1; b=2", origin: "http://example.com" },
      auth: { x: [1] },
    });
    const { request, handshake, conn } = socket;
    assert.equal(request instanceof IncomingMessage, true);
    assert.equal(request.method, "GET");
    assert.equal(request.headers.cookie, "a=1; b=2");
    assert.match(request.url, /^\/clients\/socketio\/hubs\/.*transport=websocket/);
    assert.equal(request.url.includes(token), false);
    assert.deepEqual(request.claims.role, ["a", "b"]);
    assert.deepEqual(request.claims.userId, ["ada"]);
    assert.deepEqual(claimsOf(socket).sub, ["ada"]);
    assert.equal(userIdOf(socket), "ada");
    assert.deepEqual(handshake.auth, { x: [1] });
    assert.equal(handshake.query.n, "1");
    assert.equal(handshake.query.transport, "websocket");
    assert.equal(handshake.xdomain, true);
    assert.equal(handshake.secure, false);
    assert.equal(handshake.address, "127.0.0.1");
    assert.equal(conn.remoteAddress, "127.0.0.1");
  });

  test("of a client without a token has no user", async (t) => {
    const w = world(t, service);
    const { socket } = await w.pair(await w.app());
    assert.equal(userIdOf(socket), null);
    assert.deepEqual(claimsOf(socket), {});
  });
});

describe("the connection", () => {
  test("has transport, id and protocol, and Engine.IO's events", async (t) => {
    const w = world(t, service, "polling");
    const io = await w.app();
    const raw = [];
    io.engine.on("connection", (conn) => raw.push(conn));
    const { client, socket } = await w.pair(io);
    const { conn } = socket;
    assert.equal(raw[0], conn);
    assert.equal(conn.id, client.io.engine.id);
    assert.equal(io.engine.clients[conn.id], conn);
    assert.equal(conn.protocol, 4);
    assert.equal(conn.readyState, "open");
    assert.equal(conn.transport.name, "polling");
    const heard = [];
    for (const event of ["packet", "data", "message", "packetCreate", "drain"])
      conn.on(event, (value) => heard.push([event, value?.data ?? value]));
    client.emit("hi", 1);
    await next(socket, "hi");
    socket.emit("ho");
    await next(client, "ho");
    assert.deepEqual(heard, [
      ["packet", '2["hi",1]'],
      ["data", '2["hi",1]'],
      ["message", '2["hi",1]'],
      ["packetCreate", '2["ho"]'],
      ["drain", undefined],
    ]);
    const closed = next(conn, "close");
    const reason = next(socket, "disconnect");
    conn.close();
    assert.equal((await closed)[0], "forced close");
    assert.equal((await reason)[0], "forced close");
    assert.equal(conn.readyState, "closed");
    await poll(() => !client.connected, "the client's end");
  });

  test("[repair 21] follows the client to another transport, as natively", async (t) => {
    const w = world(t, service, "upgrade");
    /** The app's view of a client that starts with polling and upgrades to WebSocket. */
    async function seen(io, connect) {
      const arrived = next(io.engine, "connection");
      connect();
      const [conn] = await arrived;
      const before = [conn.transport.name, conn.upgraded];
      const [transport] = await next(conn, "upgrade");
      return { before, told: transport.name, after: [conn.transport.name, conn.transport === transport, conn.upgraded, conn.request._query.transport] };
    }
    const http = createServer();
    http.listen(0, "127.0.0.1");
    await once(http, "listening");
    const native = new Server(http);
    w.atEnd(() => native.close());
    const wanted = await seen(native, () => w.socket({ url: `http://127.0.0.1:${http.address().port}`, path: "/socket.io" }));
    const io = await w.app();
    assert.deepEqual(await seen(io, () => w.socket()), wanted);
    assert.deepEqual(wanted, { before: ["polling", false], told: "websocket", after: ["websocket", true, true, "polling"] });
    const { socket } = await w.pair(io, { transport: "websocket" });
    assert.deepEqual([socket.conn.transport.name, socket.conn.upgraded], ["websocket", false]);
  });

  test("uses the app's options", async (t) => {
    const w = world(t, service);
    await w.app({ pingInterval: 12_000, pingTimeout: 3_000, maxHttpBufferSize: 5_000 });
    const { pingInterval, pingTimeout, maxPayload } = await rawClient(w);
    assert.deepEqual([pingInterval, pingTimeout, maxPayload], [12_000, 3_000, 5_000]);
  });

  test("that falls silent ends with a ping timeout", async (t) => {
    const w = world(t, service);
    const io = await w.app({ pingInterval: 800, pingTimeout: 400 });
    const ended = next(io, "connection").then(([socket]) => next(socket, "disconnect"));
    await rawClient(w, "40");
    const [reason, details] = await ended;
    assert.equal(reason, "ping timeout");
    assert.equal(details.description, "ping-timeout");
  });

  test("that joins no namespace is closed", async (t) => {
    const w = world(t, service);
    const io = await w.app({ connectTimeout: 30 });
    const { poll: ask } = await rawClient(w);
    assert.match(await ask(), /1$/);
    await poll(() => io.engine.clientsCount === 0, "the end at the app server");
  });

  test("with an invalid packet is closed with a parse error", async (t) => {
    const w = world(t, service);
    const io = await w.app();
    const arrived = next(io, "connection");
    await rawClient(w, "40");
    const [socket] = await arrived;
    const gone = next(socket, "disconnect");
    await fetch(`${service.url}/clients/socketio/hubs/${w.hub}/?EIO=4&transport=polling&sid=${socket.conn.id}`, {
      method: "POST",
      body: "4nonsense",
    });
    assert.match((await gone)[0], /parse error|forced close/);
  });
});

overEachTransport((transport) => {
  describe(`leaving and coming back at once over ${transport}`, () => {
    test("to one namespace makes a new socket on the same connection", async (t) => {
      const w = world(t, service, transport);
      const io = await w.app();
      const other = io.of("/other");
      const { client } = await w.pair(io);
      const second = client.io.socket("/other");
      await next(second, "connect");
      for (let i = 0; i < 5; i += 1) {
        const came = next(other, "connection");
        const back = next(second, "connect");
        second.disconnect().connect();
        const [[socket]] = await Promise.all([came, back]);
        assert.equal(other.sockets.size, 1);
        assert.equal(socket.conn.id, client.io.engine.id);
      }
    });

    test("packets sent just before the end arrive", async (t) => {
      const w = world(t, service, transport);
      const io = await w.app();
      const { client, socket } = await w.pair(io);
      const heard = [];
      socket.use(async (_, go) => {
        await undefined;
        go();
      });
      socket.on("last", (value) => heard.push(value));
      const gone = next(socket, "disconnect");
      for (let i = 0; i < 20; i += 1) client.emit("last", i);
      client.disconnect();
      assert.equal((await gone)[0], "client namespace disconnect");
      assert.deepEqual(heard, Array.from({ length: 20 }, (_, i) => i));
    });
  });
});

describe("middlewares", () => {
  test("of the engine see the request, and refuse", async (t) => {
    const w = world(t, service);
    const io = await w.app();
    const errors = [];
    io.engine.on("connection_error", ({ code, message, context, req }) => errors.push([code, message, context.name, req.method]));
    io.engine.use((request, response, go) => {
      response.setHeader("x-seen", "1");
      request.seen = request.headers["x-who"];
      if (request.seen === "error") go(new Error("no"));
      else if (request.seen === "end") response.writeHead(401).end("who are you?");
      else setImmediate(go);
    });
    io.engine.use((request, _response, go) => {
      request.seen += "!";
      go();
    });
    const { socket } = await w.pair(io, { extraHeaders: { "x-who": "ada" } });
    assert.equal(socket.request.seen, "ada!");
    await refused(w.socket({ extraHeaders: { "x-who": "error" } }));
    await refused(w.socket({ extraHeaders: { "x-who": "end" } }));
    assert.deepEqual(errors, [
      [3, "Bad request", "MIDDLEWARE_FAILURE", "GET"],
      [4, "who are you?", "MIDDLEWARE_RESPONSE", "GET"],
    ]);
  });

  test("allowRequest accepts and refuses", async (t) => {
    const w = world(t, service);
    const io = await w.app({
      allowRequest: (request, decide) => setImmediate(decide, "not you", request.headers["x-who"] === "ada"),
    });
    const error = next(io.engine, "connection_error");
    await w.pair(io, { extraHeaders: { "x-who": "ada" } });
    await refused(w.socket());
    const [{ code, context }] = await error;
    assert.deepEqual([code, context], [4, { message: "not you" }]);
  });

  test("[repair 21] an allowRequest refusal has native's status and message", async (t) => {
    const w = world(t, service);
    /** Status, code and message of a refused handshake, for each transport. */
    async function refusals(url, path) {
      const answers = [];
      for (const words of ["not you", "é", "", "null", "x".repeat(300)]) {
        const base = `${url}${path}/?EIO=4&words=${encodeURIComponent(words)}`;
        const polled = await fetch(`${base}&transport=polling`);
        const { code, message } = await polled.json();
        const upgraded = await statusOfUpgrade(`${base}&transport=websocket`);
        answers.push([polled.status, code, message, upgraded]);
      }
      return answers;
    }
    const allowRequest = (request, decide) => decide(request._query.words === "null" ? null : request._query.words, false);
    const events = { native: [], ours: [] };
    const log = (list) => ({ code, message, context }) => list.push({ code, message, context });
    const http = createServer();
    http.listen(0, "127.0.0.1");
    await once(http, "listening");
    const native = new Server(http, { allowRequest });
    w.atEnd(() => native.close());
    native.engine.on("connection_error", log(events.native));
    const io = await w.app({ allowRequest });
    io.engine.on("connection_error", log(events.ours));
    const wanted = await refusals(`http://127.0.0.1:${http.address().port}`, "/socket.io");
    assert.deepEqual(await refusals(service.url, io.moorage.clientPath), wanted);
    assert.equal(events.ours.length, 10);
    assert.deepEqual(events.ours.map(({ code, message }) => [code, message]), events.native.map(({ code, message }) => [code, message]));
  });

  test("of namespaces refuse with message and data", async (t) => {
    const w = world(t, service);
    const io = await w.app();
    io.use((socket, go) => {
      socket.join("early");
      go(socket.handshake.auth.ok ? undefined : Object.assign(new Error("no"), { data: { why: 1 } }));
    });
    io.of("/admin").use((_socket, go) => go(new Error("admins only")));
    const error = await refused(w.socket());
    assert.deepEqual([error.message, error.data], ["no", { why: 1 }]);
    assert.equal((await refused(w.socket({ nsp: "/admin" }))).message, "admins only");
    assert.equal((await refused(w.socket({ nsp: "/nowhere" }))).message, "Invalid namespace");
    const { client, socket } = await w.pair(io, { auth: { ok: true } });
    assert.equal(socket.rooms.has("early"), true);
    io.to("early").emit("hello");
    await next(client, "hello");
    const pending = new Promise((resolve) => io.use((candidate, go) => resolve({ candidate, go })));
    const late = await rawClient(w, '40{"ok":true}');
    const { candidate, go } = await pending;
    await candidate.join("secret");
    io.to(["early", "secret"]).emit("not for those who may be refused");
    go(new Error("no"));
    assert.match(await late.poll(), /^44\{"message":"no"\}$/);
  });

  test("of sockets see packets, and fail them", async (t) => {
    const w = world(t, service);
    const io = await w.app();
    const { client, socket } = await w.pair(io);
    socket.use(([event], go) => (event === "bad" ? go(new Error("bad event")) : go()));
    const error = next(socket, "error");
    const good = next(socket, "good");
    client.emit("bad");
    client.emit("good");
    assert.equal((await error)[0].message, "bad event");
    await good;
  });
});

describe("namespaces", () => {
  test("share a connection; each has rooms of its own", async (t) => {
    const w = world(t, service);
    const io = await w.app();
    const { client: one, socket } = await w.pair(io);
    const came = next(io.of("/two"), "connection");
    const two = one.io.socket("/two");
    const [other] = await came;
    assert.equal(socket.conn, other.conn);
    assert.notEqual(socket.id, other.id);
    await Promise.all([socket.join("red"), other.join("blue")]);
    io.of("/two").to(["red", "blue"]).emit("in two");
    io.to(["red", "blue"]).emit("in root");
    await Promise.all([next(two, "in two"), next(one, "in root")]);
    const ends = [next(socket, "disconnect"), next(other, "disconnect")];
    socket.disconnect(true);
    assert.deepEqual((await Promise.all(ends)).map(([reason]) => reason), Array(2).fill("server namespace disconnect"));
    await poll(() => io.engine.clientsCount === 0, "the connection's end");
  });

  test("are made on demand, and go when empty", async (t) => {
    const w = world(t, service);
    const io = await w.app({ cleanupEmptyChildNamespaces: true });
    const parent = io.of(/^\/room-\d+$/);
    const named = io.of((name, auth, go) => go(null, auth.token === "yes" && name.startsWith("/fn-")));
    const [one, two] = [await w.client({ nsp: "/room-1" }), await w.client({ nsp: "/room-2" })];
    const heard = [next(one, "all"), next(two, "all")];
    parent.emit("all");
    await Promise.all(heard);
    const red = next(io.of("/room-1"), "connection");
    const third = await w.client({ nsp: "/room-1" });
    (await red)[0].join("red");
    const to = next(third, "to red");
    parent.to("red").emit("to red");
    await to;
    await w.client({ nsp: "/fn-1", auth: { token: "yes" } });
    assert.equal(named.children.size, 1);
    assert.equal((await refused(w.socket({ nsp: "/fn-2" }))).message, "Invalid namespace");
    two.disconnect();
    await poll(() => !io._nsps.has("/room-2"), "the empty namespace's end");
    const back = await w.client({ nsp: "/room-2" });
    io.of("/room-2").emit("again");
    await next(back, "again");
  });
});

describe("listeners", () => {
  test("onAny is called for incoming events, onAnyOutgoing for outgoing ones, including broadcasts", async (t) => {
    const w = world(t, service);
    const io = await w.app();
    let early;
    io.use((socket, go) => {
      early = [];
      socket.onAnyOutgoing((...event) => early.push(event));
      go();
    });
    const { client, socket } = await w.pair(io);
    const { socket: other } = await w.pair(io);
    const [incoming, outgoing] = [[], []];
    other.onAny((...event) => incoming.push(event));
    other.onAnyOutgoing((...event) => outgoing.push(event));
    early = [];
    await other.join("red");
    io.emit("one", 1);
    io.to("red").emit("two");
    io.except("red").emit("not");
    io.to(socket.id).emit("nor");
    other.emit("three");
    assert.deepEqual(outgoing, [["one", 1], ["two"], ["three"]]);
    other.offAnyOutgoing();
    io.emit("four");
    assert.equal(outgoing.length, 3);
    client.emit("x");
    await next(socket, "x");
    assert.deepEqual(incoming, []);
    assert.deepEqual(early.map(([name]) => name), ["one", "one", "two", "not", "nor", "three", "four"]);
  });

  test("listeners of the adapter's events stay, whether registered before or after", async (t) => {
    const { Server } = await import("socket.io");
    const w = world(t, service);
    const io = new Server();
    const heard = new EventEmitter();
    for (const event of ["create-room", "join-room", "leave-room", "delete-room"])
      io.of("/").adapter.on(event, (room) => room === "red" && heard.emit(event));
    await w.app({ io });
    const { socket } = await w.pair(io);
    const all = ["create-room", "join-room", "leave-room", "delete-room"].map((event) => next(heard, event));
    socket.join("red");
    socket.leave("red");
    await Promise.all(all);
  });
});

test("a custom parser may change the JSON", async (t) => {
  const w = world(t, service);
  const write = (_key, value) => (typeof value === "bigint" ? `big ${value}` : value);
  const read = (_key, value) => (/^big \d+$/.test(value) ? BigInt(value.slice(4)) : value);
  const parser = {
    Encoder: class extends Encoder {
      constructor() {
        super(write);
      }
    },
    Decoder: class extends Decoder {
      constructor() {
        super(read);
      }
    },
  };
  const io = await w.app({ parser });
  const { client, socket } = await w.pair(io, { parser });
  socket.on("twice", (value, answer) => answer(value * 2n));
  assert.equal(await client.emitWithAck("twice", 2n ** 60n), 2n ** 61n);
  client.on("half", (value, answer) => answer(value / 2n));
  assert.deepEqual(await io.timeout(5000).emitWithAck("half", 10n), [5n]);
});
