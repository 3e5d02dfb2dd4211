// Several app servers on one hub, and processes that die: an app server, the service.

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";

import { Proxy } from "../lib/proxy.mjs";
import { Service } from "../lib/service.mjs";
import { Log, next, poll } from "../lib/waiting.mjs";
import { connected, hearing, overEachTransport, serverSide, world } from "../lib/world.mjs";

const GRACE = 1000;

let service;
before(async () => (service = await Service.start({ set: [`links.grace=${GRACE}ms`] })));
after(() => service.stop());

/** Clients that come back by themselves, quickly. */
const EAGER = { reconnection: true, reconnectionDelay: 50, reconnectionDelayMax: 200 };

overEachTransport((transport) => {
  describe(`two app servers, over ${transport}`, () => {
    /** Two app servers with half of the clients each: `[{ io, clients }, …]`, and all clients. */
    async function two(t, count = 4) {
      const w = world(t, service, transport);
      const apps = [await w.app(), await w.app()];
      const clients = await w.clients(count);
      const sides = apps.map((io) => ({ io, clients: clients.filter((client) => io.sockets.sockets.has(client.id)) }));
      return { w, apps, clients, sides };
    }

    it("spreads the clients over both", async (t) => {
      const { w, apps, sides } = await two(t, 4);
      assert.deepEqual(sides.map((side) => side.clients.length), [2, 2]);
      // Who has fewer gets the next.
      for (const client of sides[0].clients) {
        const gone = next(serverSide(apps[0], client), "disconnect");
        client.disconnect();
        await gone;
      }
      await poll(async () => (await service.metric(`moorage_connections{hub="${w.hub}",transport="websocket"}`)) +
        (await service.metric(`moorage_connections{hub="${w.hub}",transport="polling"}`)) === 2, "two to be left");
      await w.clients(2);
      assert.deepEqual(apps.map((io) => io.sockets.sockets.size), [2, 2]);
    });

    it("reaches everybody from either", async (t) => {
      const { apps, sides } = await two(t);
      const all = sides.flatMap((side) => side.clients);
      await serverSide(apps[0], sides[0].clients[0]).join("room");
      await serverSide(apps[1], sides[1].clients[0]).join("room");
      for (const io of apps) {
        const heard = await hearing(io, all, () => {
          io.emit("x", "all");
          io.to("room").emit("x", "room");
          io.except("room").emit("x", "rest");
          io.to(sides[1].clients[1].id).emit("x", "one");
        });
        assert.deepEqual(
          heard.map((events) => events.map(([, name]) => name)),
          [["all", "room"], ["all", "rest"], ["all", "room"], ["all", "rest", "one"]],
        );
      }
    });

    it("collects answers from both by one emitWithAck", async (t) => {
      const { apps, clients } = await two(t);
      clients.forEach((client, index) => client.on("q", (answer) => answer(index)));
      for (const io of apps)
        assert.deepEqual((await io.timeout(10_000).emitWithAck("q")).sort(), [0, 1, 2, 3]);
    });

    it("moves the other's sockets between rooms", async (t) => {
      const { apps, clients, sides } = await two(t);
      const theirs = sides[1].clients[0];
      await apps[0].in(theirs.id).socketsJoin(["a", "b"]);
      await apps[0].in(theirs.id).socketsLeave("b");
      const heard = await hearing(apps[0], clients, () => apps[0].to("a").to("b").emit("x", 1));
      assert.deepEqual(heard, clients.map((client) => (client === theirs ? [["x", 1]] : [])));
      assert.deepEqual(await hearing(apps[0], [theirs], () => apps[0].to("b").emit("x", 1)), [[]]);
    });

    for (const close of [false, true]) {
      it(`disconnects the other's sockets, with disconnectSockets(${close})`, async (t) => {
        const { apps, sides } = await two(t);
        const [out, stays] = sides[1].clients;
        const ends = [next(out, "disconnect"), next(serverSide(apps[1], out), "disconnect")];
        apps[0].in(out.id).disconnectSockets(close);
        assert.deepEqual(
          (await Promise.all(ends)).map(([reason]) => reason),
          ["io server disconnect", close ? "transport close" : "client namespace disconnect"],
        );
        assert.equal(stays.connected, true);
        assert.equal(sides[0].clients.every((client) => client.connected), true);
      });
    }
  });

  describe(`processes that die, over ${transport}`, { concurrency: true }, () => {
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
      assert.equal(reason, "transport close");
      assert.ok(at - killed >= GRACE - 50, `closed after ${at - killed} ms`);

      const there = next(survivor, "connection");
      early.connect();
      await Promise.all([there, connected(early)]);
      survivor.emit("x", 1);
      survivor.emit("end");
      assert.deepEqual(await heard.upTo("end"), [["x", 1]]);
    });

    it("the only app server: 503 while it is away, back when it is", async (t) => {
      const w = world(t, service, transport);
      const first = await w.appProcess();
      await first.run(answerAsk, "first");
      const client = await w.client(EAGER);
      assert.equal(await client.emitWithAck("ask"), "first");
      const errors = [];
      client.io.on("reconnect_error", (error) => errors.push(error));
      const ended = next(client, "disconnect");
      await first.kill();
      assert.deepEqual((await ended)[0], "transport close");
      await poll(() => errors.length > 0, "a try to reconnect");
      assert.equal((await fetch(`${service.url}/clients/socketio/hubs/${w.hub}/?EIO=4&transport=polling`)).status, 503);

      const again = next(client, "connect");
      await (await w.appProcess()).run(answerAsk, "second");
      await again;
      assert.equal(await client.emitWithAck("ask"), "second");
    });

    it("an app server that is back within the grace time is another one", async (t) => {
      const w = world(t, service, transport);
      const first = await w.appProcess();
      const client = await w.client(EAGER);
      const [ended, again] = [next(client, "disconnect"), next(client, "connect")];
      await first.kill();
      const second = await w.appProcess();
      await second.run(answerAsk, "second");
      assert.equal((await ended)[0], "transport close");
      await again;
      assert.equal(await client.emitWithAck("ask"), "second");
    });

    it("a tunnel that is away for longer than the grace time", async (t) => {
      const w = world(t, service, transport);
      const proxy = await Proxy.start(service.port);
      w.atEnd(() => proxy.close());
      const io = await w.app({ endpoint: proxy.url, pingInterval: 1000, pingTimeout: 2000 });
      const client = await w.client(EAGER);
      const socket = serverSide(io, client);
      const connection = socket.conn.id;
      const [ended, oldEnded, again] = [next(client, "disconnect"), next(socket, "disconnect"), next(client, "connect")];
      await proxy.cut();
      assert.equal((await ended)[0], "transport close");
      assert.equal((await service.record({ connection })).reason, "app-lost");
      assert.equal((await oldEnded)[0], "ping timeout");
      await proxy.restore();
      await again;
      assert.deepEqual(await hearing(io, [client], () => io.emit("x", 1)), [[["x", 1]]]);
      assert.deepEqual([...io.sockets.sockets.keys()], [client.id]);
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
      await client.emitWithAck("join", "room");
      const [ended, oldEnded] = [next(client, "disconnect"), next(old, "disconnect")];
      // Under load, so that calls of all kinds are cut off with it.
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

      assert.equal(await client.timeout(15_000).emitWithAck("ask"), "yes");
      await client.timeout(15_000).emitWithAck("join", "room");
      const socket = serverSide(io, client);
      await socket.leave("room");
      await socket.join("other");
      const heard = await hearing(io, [client], () => io.to(["room", "other"]).except("x").emit("again", 1));
      assert.deepEqual(heard[0].filter(([name]) => name === "again"), [["again", 1]]);
    });
  });
});

/** In the app process: answer "ask". */
function answerAsk(io, text) {
  io.on("connection", (socket) => socket.on("ask", (answer) => answer(text)));
}
