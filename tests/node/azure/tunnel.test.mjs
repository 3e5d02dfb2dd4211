// The connection between app server and service breaks, and returns within the grace time.

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";

import { Proxy } from "../lib/proxy.mjs";
import { Service } from "../lib/service.mjs";
import { Log, PATIENCE, next, pause, poll } from "../lib/waiting.mjs";
import { connected, overEachTransport, refused, serverSide, world } from "../lib/world.mjs";

let service;
// Long, because the package dials once per second, and a cut must not become a loss on a busy machine.
before(async () => (service = await Service.start({ set: ["links.grace=20s"] })));
after(() => service.stop());

/** An app server behind a proxy, and clients that connect directly to the service. */
async function crew(t, transport, count = 1, options = {}) {
  const w = world(t, service, transport);
  const proxy = await Proxy.start(service.port);
  w.atEnd(() => proxy.close());
  const io = await w.app({ endpoint: proxy.url, ...options });
  assert.equal(await tunnels(w), 1);
  const clients = await w.clients(count);
  const sockets = clients.map((client) => serverSide(io, client));
  for (const socket of [...clients, ...sockets])
    socket.on("disconnect", (reason) => assert.fail(`a socket ended: ${reason}`));
  // The end of the test may disconnect clients.
  w.atEnd(() => [...clients, ...sockets].forEach((socket) => socket.removeAllListeners("disconnect")));
  return { w, proxy, io, clients, sockets };
}

/** The hub's current number of tunnels on the service. */
const tunnels = (w) => service.metric(`moorage_tunnel_connections{dialect="azure",hub="${w.hub}"}`);

/** Waits until the service has noticed the end of the tunnel. */
const tunnelDown = (w) => poll(async () => (await tunnels(w)) === 0, "the end of the tunnel");

const upTo = (count) => Array.from({ length: count }, (_, index) => index);

/** The first occurrence of each value: an event whose answer was lost with the tunnel arrives twice. */
const firstOnly = (values) => [...new Set(values)];

overEachTransport((transport) => {
  describe(`over ${transport}`, { concurrency: true }, () => {
    it("cut while idle: clients stay connected and work", async (t) => {
      const { w, proxy, io, clients: [client], sockets: [socket] } = await crew(t, transport);
      await socket.join("room");
      await proxy.cut();
      await tunnelDown(w);
      await proxy.restore();
      await poll(() => proxy.accepted > 1, "the tunnel");
      socket.on("ask", (answer) => answer("yes"));
      client.on("ask", (answer) => answer("no"));
      assert.equal(await client.timeout(PATIENCE).emitWithAck("ask"), "yes");
      assert.equal(await socket.timeout(PATIENCE).emitWithAck("ask"), "no");
      assert.deepEqual(await io.to("room").timeout(PATIENCE).emitWithAck("ask"), ["no"]);
    });

    it("clients' events during the cut arrive once, in order", async (t) => {
      const { w, proxy, clients, sockets } = await crew(t, transport, 2);
      const logs = sockets.map((socket) => new Log(socket));
      await proxy.cut();
      await tunnelDown(w);
      for (const index of upTo(100))
        for (const client of clients) client.emit("up", index % 10 ? index : Buffer.from([index]));
      await proxy.restore();
      for (const log of logs) {
        const values = await log.values("up", { count: 100 });
        assert.deepEqual(values.map((value) => (Buffer.isBuffer(value) ? value[0] : value)), upTo(100));
      }
    });

    it("an answer waits for the tunnel", async (t) => {
      const { w, proxy, clients: [client], sockets: [socket] } = await crew(t, transport);
      socket.on("ask", (answer) => answer("yes"));
      const asked = next(client, "question");
      const answer = socket.timeout(PATIENCE).emitWithAck("question", 1);
      const [, reply] = await asked;
      await proxy.cut();
      await tunnelDown(w);
      reply("late but there");
      const own = client.timeout(PATIENCE).emitWithAck("ask");
      await proxy.restore();
      assert.equal(await answer, "late but there");
      assert.equal(await own, "yes");
    });

    it("the app's emits during the cut arrive", async (t) => {
      const { w, proxy, io, clients: [client], sockets: [socket] } = await crew(t, transport);
      await socket.join("room");
      const log = new Log(client);
      await proxy.cut();
      await tunnelDown(w);
      // The package repeats these itself, three times at intervals of a second; not in order.
      for (const index of upTo(20)) {
        io.emit("down", `all ${index}`);
        io.to("room").emit("down", `room ${index}`);
        socket.emit("down", `one ${index}`);
      }
      const joined = socket.join("later");
      await proxy.restore();
      await joined;
      const values = await log.values("down", { count: 60 });
      const expected = ["all", "room", "one"].flatMap((kind) => upTo(20).map((index) => `${kind} ${index}`));
      assert.deepEqual([...values].sort(), [...expected].sort());
      assert.deepEqual(values.filter((value) => value.startsWith("one")), expected.slice(40));
    });

    it("clients that connect during the cut are accepted afterwards", async (t) => {
      const { w, proxy, io } = await crew(t, transport, 0);
      await proxy.cut();
      await tunnelDown(w);
      const late = w.socket({ reconnection: true, reconnectionDelay: 50, reconnectionDelayMax: 200 });
      await refused(late);
      await proxy.restore();
      await next(late, "connect");
      assert.ok(serverSide(io, late));
    });

    it("an emitWithAck during the cut does not affect later ones", async (t) => {
      const { w, proxy, io, clients: [client] } = await crew(t, transport);
      const asked = next(client, "q");
      const first = io.timeout(2000).emitWithAck("q").catch((error) => error);
      const [reply] = await asked;
      await proxy.cut();
      await tunnelDown(w);
      reply("late");
      await proxy.restore();
      await first;
      client.on("q", (answer) => answer("in time"));
      assert.deepEqual(await io.timeout(PATIENCE).emitWithAck("q"), ["in time"]);
    });

    it("a client that leaves during the cut is disconnected", async (t) => {
      const { w, proxy, io, clients: [client], sockets: [socket] } = await crew(t, transport);
      [client, socket].forEach((side) => side.removeAllListeners("disconnect"));
      const gone = next(socket, "disconnect");
      await proxy.cut();
      await tunnelDown(w);
      client.emit("last", 1);
      client.disconnect();
      await proxy.restore();
      assert.equal((await gone)[0], "client namespace disconnect");
      await poll(() => io.engine.clientsCount === 0, "the connection to be forgotten");
    });

    it("a join that arrives after the client has left has no effect", async (t) => {
      const { proxy, io, clients: [client] } = await crew(t, transport);
      const chats = io.of("/chat");
      const chat = client.io.socket("/chat");
      await connected(chat);
      const old = serverSide(io, chat);
      const gone = next(old, "disconnect");
      // The package joins one room after the other, so this one ends after all others.
      await old.join("earlier");
      proxy.hold();
      const joined = old.join("room");
      chat.disconnect();
      assert.equal((await gone)[0], "client namespace disconnect");
      proxy.release();
      await joined;
      chat.connect();
      await connected(chat);
      const log = new Log(chat);
      chats.to("room").emit("x", 1);
      chats.emit("end");
      assert.deepEqual(await log.upTo("end"), []);
    });

    for (const [what, lost] of [
      ["", {}],
      [", the app's last words lost", { up: true }],
      [", the service's last words lost", { down: true }],
      [", the last words of both lost", { up: true, down: true }],
    ]) {
      it(`cut in the middle of a stream${what}`, async (t) => {
        const { w, proxy, io, clients: [client], sockets: [socket] } = await crew(t, transport);
        const [up, down] = [new Log(socket), new Log(client)];
        const count = 300;
        for (const index of upTo(count)) {
          client.emit("up", index);
          socket.emit("down", index);
          io.to(client.id).emit("room", index);
          if (index === 100) proxy.swallow(lost);
          if (index === 150) await proxy.cut();
          if (index === 200) await proxy.restore();
          await pause(2);
        }
        const last = count - 1;
        // From the client: everything, in order.
        assert.deepEqual(firstOnly(await up.values("up", { last })), upTo(count));
        // To the client: calls that were interrupted are lost, because the package does not repeat them. Later calls
        // are not delayed, and nothing arrives twice or early.
        const values = await down.values("down", { last });
        assert.deepEqual(values, [...values].sort((a, b) => a - b));
        assert.deepEqual(values, firstOnly(values));
        assert.ok(holes(values, count) <= 1, `missing: ${upTo(count).filter((n) => !values.includes(n))}`);
        await poll(() => (io.emit("done"), down.heard.some(([name]) => name === "done")), "a broadcast");
        await socket.join("after");
        await socket.leave("after");
      });
    }

    it("cut in the middle of binary events of several parts", async (t) => {
      const { proxy, clients: [client], sockets: [socket] } = await crew(t, transport);
      const log = new Log(socket);
      const count = 30;
      // Large, so that no two parts arrive in one read of a socket.
      const parts = (index) => [Buffer.alloc(200_000, index), { deep: Buffer.alloc(250_000, index) }];
      for (const index of upTo(count)) {
        client.emit("up", index, parts(index));
        if (index === 8) proxy.swallow({ up: true });
        if (index === 15) await proxy.cut();
        if (index === 20) await proxy.restore();
        await pause(5);
      }
      const values = await log.values("up", { last: count - 1 });
      assert.deepEqual(firstOnly(values), upTo(count));
      for (const [, index, got] of log.heard) {
        assert.ok(got[0].equals(parts(index)[0]));
        assert.ok(got[1].deep.equals(parts(index)[1].deep));
      }
    });

    it("cut again and again", async (t) => {
      const { proxy, clients: [client], sockets: [socket] } = await crew(t, transport);
      const log = new Log(socket);
      let sent = 0;
      const talk = async (count) => {
        for (const end = sent + count; sent < end; sent += 1) {
          client.emit("up", sent);
          await pause(1);
        }
      };
      for (const lost of [{ up: true }, { down: true }, {}]) {
        await talk(50);
        proxy.swallow(lost);
        await talk(50);
        await proxy.cut();
        await talk(50);
        await proxy.restore();
      }
      await talk(50);
      assert.deepEqual(firstOnly(await log.values("up", { last: sent - 1 })), upTo(sent));
      socket.on("ask", (answer) => answer("yes"));
      assert.equal(await client.timeout(PATIENCE).emitWithAck("ask"), "yes");
    });
  });
});

/** Number of gaps in `values`, out of 0 … count - 1. */
function holes(values, count) {
  const there = new Set(values);
  return upTo(count).filter((index) => !there.has(index) && (index === 0 || there.has(index - 1))).length;
}
