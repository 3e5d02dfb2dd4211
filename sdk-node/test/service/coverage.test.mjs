// One app server with a session at each of several nodes.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { missingServers } from "../../dist/esm/index.js";
import { Log, next, pause, poll } from "../../../tests/node/lib/waiting.mjs";
import { Cluster } from "../support/cluster.mjs";
import { hearing, world } from "../support/world.mjs";

let cluster;
before(async () => {
  cluster = await Cluster.start("first", "second");
});
after(() => cluster?.stop());

/** An app server that covers all nodes, and a client at each. */
async function covered(t, options = {}) {
  const worlds = cluster.nodes.map((node) => world(t, node));
  const [here] = worlds;
  for (const there of worlds) there.hub = here.hub;
  const io = await here.app(options);
  const pairs = [];
  for (const there of worlds) pairs.push(await there.pair(io));
  return { io, worlds, pairs };
}

const names = (io) => io.moorage.nodes.map(({ name }) => name).sort();

test("an app server has a session at each node when useMoorage resolves, and serves the clients of both", async (t) => {
  const { io, pairs: [a, b] } = await covered(t);
  assert.deepEqual(names(io), ["first", "second"]);
  assert.equal(io.moorage.clientsCount, 2);
  await a.socket.join("red");
  await b.socket.join(["red", "blue"]);
  const heard = await hearing(io, [a.client, b.client], () => {
    io.emit("all");
    io.to("red").emit("red");
    io.to("red").except("blue").emit("red, not blue");
    io.to("blue").emit("blue");
    io.to(b.socket.id).emit("private");
    a.socket.broadcast.emit("not a");
    a.socket.emit("a");
    b.socket.emit("b");
    io.emit("binary", Buffer.alloc(2_500_000, 1));
  });
  assert.deepEqual(heard, [
    ["all", "red", "red, not blue", "a", "binary"],
    ["all", "red", "blue", "private", "not a", "b", "binary"],
  ]);
});

test("packets, emits to all and emits to rooms keep their order at each socket", async (t) => {
  const { io, pairs } = await covered(t);
  for (const { socket } of pairs) await socket.join("red");
  const logs = pairs.map(({ client }) => new Log(client));
  const wanted = [];
  for (let round = 0; round < 300; round++) {
    for (const { socket } of pairs) socket.emit("own", round);
    io.emit("all", round);
    io.to("red").emit("room", round);
    io.in("red").socketsJoin(`r${round}`);
    io.to(`r${round}`).emit("joined", round);
    io.in("red").socketsLeave(`r${round}`);
    io.to(`r${round}`).emit("never", round);
    wanted.push(["own", round], ["all", round], ["room", round], ["joined", round]);
    if (round % 50 === 0) await new Promise(setImmediate);
  }
  io.emit("end");
  for (const log of logs) assert.deepEqual(await log.upTo("end"), wanted);
});

test("acks, joins, fetched sockets, volatile and local emits, and disconnects reach the sockets of all nodes", async (t) => {
  const { io, pairs: [a, b] } = await covered(t);
  for (const [name, { client, socket }] of Object.entries({ a, b })) {
    client.on("who", (reply) => reply(name));
    socket.data.name = name;
  }
  assert.deepEqual((await io.timeout(5000).emitWithAck("who")).sort(), ["a", "b"]);
  assert.deepEqual(await b.socket.timeout(5000).emitWithAck("who"), "b");
  io.socketsJoin("all");
  await poll(() => a.socket.rooms.has("all") && b.socket.rooms.has("all"), "the rooms");
  const found = await io.in("all").fetchSockets();
  assert.deepEqual(new Set(found), new Set([a.socket, b.socket]));
  assert.deepEqual(missingServers(found), []);
  assert.deepEqual([...(await io.allSockets())].sort(), [a.client.id, b.client.id].sort());
  assert.equal(await io.of("/").adapter.serverCount(), 1);
  const heard = await hearing(io, [a.client, b.client], () => {
    io.volatile.emit("volatile");
    io.local.emit("local");
    b.socket.volatile.emit("to b");
  });
  assert.deepEqual(heard, [["volatile", "local"], ["volatile", "local", "to b"]]);
  const gone = [a, b].map(({ client }) => next(client, "disconnect"));
  io.disconnectSockets(true);
  for (const [reason] of await Promise.all(gone)) assert.equal(reason, "io server disconnect");
});

test("two app servers: sockets of both at both nodes are fetched with their own data, and each event arrives once", async (t) => {
  const worlds = cluster.nodes.map((node) => world(t, node));
  const [first, second] = worlds;
  second.hub = first.hub;
  const [one, two] = [await first.app(), await second.app()];
  const all = [];
  for (const at of worlds) for (const io of [one, two]) all.push({ io, ...(await at.pairAt(io)) });
  for (const { socket } of all) socket.data = { id: socket.id };
  const every = await one.fetchSockets();
  for (const { id, data } of every) assert.deepEqual(data, { id });
  const ids = new Set(every.map(({ id }) => id));
  for (const { client } of all) assert.ok(ids.has(client.id));
  assert.equal(every.length, ids.size);
  const events = [];
  two.on("event", (value, reply) => {
    events.push(value);
    reply?.(`got ${value}`);
  });
  one.serverSideEmit("event", 1);
  assert.deepEqual(await one.serverSideEmitWithAck("event", 2), ["got 2"]);
  assert.deepEqual(events, [1, 2]);
  assert.equal(await one.of("/").adapter.serverCount(), 2);
});

test("kill -9 of a node ends its clients only; emits go on, and a node that starts is covered", async (t) => {
  const { io, worlds, pairs: [a, b] } = await covered(t);
  const ends = [];
  a.socket.on("disconnect", () => ends.push("a"));
  const gone = next(b.socket, "disconnect");
  await cluster.nodes[1].kill();
  const log = new Log(a.client);
  for (let round = 0; round < 50; round++) {
    io.emit("count", round);
    await pause(20);
  }
  io.emit("end");
  assert.deepEqual(await log.upTo("end"), [...Array(50).keys()].map((round) => ["count", round]));
  assert.equal((await gone)[0], "transport close");
  await poll(() => names(io).join() === "first", "one node");
  assert.deepEqual((await io.fetchSockets()).map(({ id }) => id), [a.client.id]);
  await cluster.nodes[1].restart();
  await poll(() => names(io).join() === "first,second", "two nodes");
  const c = await worlds[1].pair(io);
  assert.deepEqual(await hearing(io, [a.client, c.client], () => io.emit("all")), [["all"], ["all"]]);
  assert.deepEqual([ends, io.moorage.connected], [[], true]);
});

test("when the home is killed another node becomes the home, and nothing is lost or repeated at the nodes that live", async (t) => {
  await cluster.add("third");
  const { io, pairs: [, b, c] } = await covered(t);
  await poll(() => names(io).length === 3, "three nodes");
  const logs = [b, c].map(({ client }) => new Log(client));
  let round = 0;
  const ticking = setInterval(() => io.emit("count", round++), 5);
  await pause(100);
  await cluster.nodes[0].kill();
  await poll(() => names(io).length === 2, "two nodes");
  await pause(100);
  clearInterval(ticking);
  io.emit("end");
  for (const log of logs) assert.deepEqual(await log.upTo("end"), [...Array(round).keys()].map((each) => ["count", each]));
  assert.equal(io.moorage.nodes.filter(({ home }) => home).length, 1);
  await cluster.nodes[0].restart();
  await poll(() => names(io).length === 3, "three nodes again");
});

test("without NATS, emits, packets and acks go on at all nodes with a session", async (t) => {
  const { io, pairs } = await covered(t);
  await poll(() => names(io).length === 3, "three nodes");
  await cluster.nats.stop();
  for (const { client } of pairs) client.on("who", (reply) => reply(client.id));
  await pause(4_000);
  const clients = pairs.map(({ client }) => client);
  assert.deepEqual(await hearing(io, clients, () => io.emit("all")), clients.map(() => ["all"]));
  assert.deepEqual((await io.timeout(5000).emitWithAck("who")).sort(), clients.map(({ id }) => id).sort());
  for (const { socket } of pairs) assert.equal(await socket.timeout(5000).emitWithAck("who"), socket.id);
});
