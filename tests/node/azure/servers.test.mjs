// Several app servers on one hub, and processes that are killed: an app server, the service.

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";

import { Proxy } from "../lib/proxy.mjs";
import { Service } from "../lib/service.mjs";
import { Log, PATIENCE, next, poll } from "../lib/waiting.mjs";
import { connected, hearing, serverSide, world } from "../lib/world.mjs";

const GRACE = 1000;

let service;
before(async () => (service = await Service.start({ set: [`links.grace=${GRACE}ms`] })));
after(() => service.stop());

/** Clients that reconnect automatically and quickly. */
const EAGER = { reconnection: true, reconnectionDelay: 50, reconnectionDelayMax: 200 };

// Which transport a client has makes no difference to the app server that does not serve it.
for (const transport of ["upgrade"]) {
  describe(`two app servers, over ${transport}`, () => {
    /** One app server in this process, one in another, and the clients of each (`near` and `far`). */
    async function two(t, count = 4) {
      const w = world(t, service, transport);
      const near = await w.app();
      const far = await w.farApp();
      const clients = await w.clients(count);
      const [atNear, atFar] = [true, false].map((here) =>
        clients.filter((client) => near.sockets.sockets.has(client.id) === here),
      );
      return { w, near, far, clients, atNear, atFar };
    }

    it("spreads the clients over both", async (t) => {
      const { w, near, far, atNear, atFar } = await two(t, 4);
      const there = () => far.run((io) => [...io.sockets.sockets.keys()]);
      assert.equal(atNear.length, 2);
      assert.deepEqual((await there()).sort(), atFar.map((client) => client.id).sort());
      // The app server with fewer clients gets the next one.
      for (const client of atNear) {
        const { id } = client.io.engine;
        client.disconnect();
        await service.record({ connection: id });
      }
      await w.clients(2);
      assert.equal(near.sockets.sockets.size, 2);
      assert.equal((await there()).length, 2);
    });

    it("reaches all clients from either", async (t) => {
      const { near, far, atNear, atFar } = await two(t);
      await serverSide(near, atNear[0]).join("room");
      await far.run((io, id) => io.sockets.sockets.get(id).join("room").then(() => true), atFar[0].id);
      const emits = (io, id) => {
        io.emit("x", "all");
        io.to("room").emit("x", "room");
        io.except("room").emit("x", "rest");
        io.to(id).emit("x", "one");
        io.emit("fence");
      };
      const expected = [["all", "room"], ["all", "rest"], ["all", "room"], ["all", "rest", "one"]];
      for (const emit of [() => emits(near, atFar[1].id), () => far.run(emits, atFar[1].id)]) {
        const logs = [...atNear, ...atFar].map((client) => new Log(client));
        await emit();
        const heard = await Promise.all(logs.map((log) => log.upTo("fence")));
        assert.deepEqual(heard.map((events) => events.map(([, name]) => name)), expected);
      }
    });

    it("collects answers from both by one emitWithAck", async (t) => {
      const { near, far, clients } = await two(t);
      clients.forEach((client, index) => client.on("q", (answer) => answer(index)));
      assert.deepEqual((await near.timeout(PATIENCE).emitWithAck("q")).sort(), [0, 1, 2, 3]);
      assert.deepEqual((await far.run((io) => io.timeout(10_000).emitWithAck("q"))).sort(), [0, 1, 2, 3]);
    });

    it("moves the other's sockets between rooms", async (t) => {
      const { near, clients, atFar: [theirs] } = await two(t);
      await near.in(theirs.id).socketsJoin(["a", "b"]);
      await near.in(theirs.id).socketsLeave("b");
      const heard = await hearing(near, clients, () => near.to("a").to("b").emit("x", 1));
      assert.deepEqual(heard, clients.map((client) => (client === theirs ? [["x", 1]] : [])));
      assert.deepEqual(await hearing(near, [theirs], () => near.to("b").emit("x", 1)), [[]]);
    });

    for (const close of [false, true]) {
      it(`disconnects the other's sockets, with disconnectSockets(${close})`, async (t) => {
        const { near, far, atNear, atFar: [out, stays] } = await two(t);
        const ended = next(out, "disconnect");
        const there = far.run(
          (io, id) => new Promise((resolve) => io.sockets.sockets.get(id).on("disconnect", resolve)),
          out.id,
        );
        await far.run(() => true);
        near.in(out.id).disconnectSockets(close);
        assert.equal((await ended)[0], "io server disconnect");
        assert.equal(await there, close ? "transport close" : "client namespace disconnect");
        assert.equal([...atNear, stays].every((client) => client.connected), true);
      });
    }
  });
}

// A client that has upgraded ends like one that was over WebSocket from the start.
for (const transport of ["websocket", "polling"]) {
  describe(`processes that die, over ${transport}`, { concurrency: true }, () => {
    // A polling client that shall reconnect gets an error status; natively its polls fail too.
    const lost = transport === "polling" ? "transport error" : "transport close";

    it("an app server: its clients are closed after the grace time, the others stay", async (t) => {
      const w = world(t, service, transport);
      const doomed = await w.appProcess();
      const [early] = await w.clients(1);
      const survivor = await w.app();
      const [late] = await w.clients(1);
      const heard = new Log(late);
      const ended = next(early, "disconnect").then(([reason]) => ({ reason, at: performance.now() }));
      const killed = performance.now();
      await doomed.kill();
      const { reason, at } = await ended;
      assert.equal(reason, lost);
      assert.ok(at - killed >= GRACE - 50, `closed after ${at - killed} ms`);

      const there = next(survivor, "connection");
      early.connect();
      await Promise.all([there, connected(early)]);
      survivor.emit("x", 1);
      survivor.emit("end");
      assert.deepEqual(await heard.upTo("end"), [["x", 1]]);
    });

    it("the service: app servers and clients come back, and nothing hangs", async (t) => {
      const own = await Service.start();
      t.after(() => own.stop());
      const w = world(t, own, transport);
      const io = await w.app({ pingInterval: 500, pingTimeout: 1000 });
      io.on("connection", (socket) => {
        socket.on("ask", (answer) => answer("yes"));
        socket.on("join", async (room, answer) => answer(await socket.join(room)));
      });
      const client = await w.client(EAGER);
      const old = serverSide(io, client);
      await client.timeout(PATIENCE).emitWithAck("join", "room");
      const [ended, oldEnded] = [next(client, "disconnect"), next(old, "disconnect")];
      // Under load, so that the kill interrupts calls of all kinds.
      const busy = setInterval(() => {
        old.emit("x");
        io.emit("x");
        io.to("room").emit("x");
        client.volatile.emit("up");
      }, 5);
      t.after(() => clearInterval(busy));
      await next(client, "x");
      await own.kill();
      await ended;
      const again = next(client, "connect");
      await own.restart();
      await again;
      clearInterval(busy);
      assert.match((await oldEnded)[0], /ping timeout|transport/);

      assert.equal(await client.timeout(PATIENCE).emitWithAck("ask"), "yes");
      await client.timeout(PATIENCE).emitWithAck("join", "room");
      const socket = serverSide(io, client);
      await socket.leave("room");
      await socket.join("other");
      const heard = await hearing(io, [client], () => io.to(["room", "other"]).except("x").emit("again", 1));
      assert.deepEqual(heard[0].filter(([name]) => name === "again"), [["again", 1]]);
    });
  });
}

// What the app server and the service do does not depend on the client's transport.
describe("app servers that are away", { concurrency: true }, () => {
  it("the only app server: 503 while it is away, back when it is", async (t) => {
    const w = world(t, service);
    const first = await w.appProcess();
    await first.run(answerAsk, "first");
    const client = await w.client(EAGER);
    assert.equal(await client.timeout(PATIENCE).emitWithAck("ask"), "first");
    const errors = [];
    client.io.on("reconnect_error", (error) => errors.push(error));
    const ended = next(client, "disconnect");
    await first.kill();
    assert.equal((await ended)[0], "transport close");
    await poll(() => errors.length > 0, "a try to reconnect");
    assert.equal((await fetch(`${service.url}/clients/socketio/hubs/${w.hub}/?EIO=4&transport=polling`)).status, 503);

    const again = next(client, "connect");
    await (await w.appProcess()).run(answerAsk, "second");
    await again;
    assert.equal(await client.timeout(PATIENCE).emitWithAck("ask"), "second");
  });

  it("an app server that returns within the grace time is a new one", async (t) => {
    const w = world(t, service);
    const first = await w.appProcess();
    const client = await w.client(EAGER);
    const [ended, again] = [next(client, "disconnect"), next(client, "connect")];
    await first.kill();
    const second = await w.appProcess();
    await second.run(answerAsk, "second");
    assert.equal((await ended)[0], "transport close");
    await again;
    assert.equal(await client.timeout(PATIENCE).emitWithAck("ask"), "second");
  });

  it("a tunnel that is away for longer than the grace time", async (t) => {
    const w = world(t, service);
    const proxy = await Proxy.start(service.port);
    w.atEnd(() => proxy.close());
    const io = await w.app({ endpoint: proxy.url, pingInterval: 1000, pingTimeout: 2000 });
    const client = await w.client(EAGER);
    const socket = serverSide(io, client);
    const connection = socket.conn.id;
    const [ended, oldEnded] = [next(client, "disconnect"), next(socket, "disconnect")];
    const again = next(client, "connect");
    await proxy.cut();
    assert.equal((await ended)[0], "transport close");
    assert.equal((await service.record({ connection })).reason, "app-lost");
    assert.equal((await oldEnded)[0], "ping timeout");
    await proxy.restore();
    await again;
    assert.deepEqual(await hearing(io, [client], () => io.emit("x", 1)), [[["x", 1]]]);
    assert.deepEqual([...io.sockets.sockets.keys()], [client.id]);
  });
});

/** Runs in the app process: answers "ask". Clients that reconnect quickly may be connected already. */
function answerAsk(io, text) {
  const serve = (socket) => socket.on("ask", (answer) => answer(text));
  io.on("connection", serve);
  for (const socket of io.sockets.sockets.values()) serve(socket);
}
