// Two nodes on a real nats-server. Each has an app server of the hub, and stock clients.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { after, before, test } from "node:test";

import { missingServers } from "../../dist/esm/index.js";
import { NatsServer } from "../../../tests/node/lib/nats.mjs";
import { Service } from "../../../tests/node/lib/service.mjs";
import { next, poll } from "../../../tests/node/lib/waiting.mjs";
import { hearing, world } from "../support/world.mjs";

let nats;
let services = [];
before(async () => {
  nats = await NatsServer.start();
  const key = randomBytes(16).toString("hex");
  const start = (name) =>
    Service.start({ key, set: [`cluster.nats_url=${nats.url}`, `cluster.node_name=${name}`] });
  services = await Promise.all([start("first"), start("second")]);
  for (const service of services) {
    await poll(async () => (await fetch(`${service.url}/readyz`)).ok, "a node that is ready");
    assert.equal(await service.metric("moorage_cluster_nodes"), 2);
  }
});
after(async () => {
  await Promise.all(services.map((service) => service.stop()));
  await nats?.stop();
});

/** An app server and a client at each node, of one hub. */
async function nodes(t) {
  const [here, there] = services.map((service) => world(t, service));
  there.hub = here.hub;
  const [one, two] = [await here.app(), await there.app()];
  return { one, two, a: await here.pair(one), b: await there.pair(two) };
}

test("emits reach the clients of both nodes, with rooms and exceptions of both", async (t) => {
  const { one, two, a, b } = await nodes(t);
  await a.socket.join("red");
  await b.socket.join(["red", "blue"]);
  for (const [io, mine] of [[one, a], [two, b]]) {
    const heard = await hearing(io, [a.client, b.client], () => {
      io.emit("all");
      io.to("red").emit("red");
      io.to("red").except("blue").emit("red, not blue");
      io.to("blue").emit("blue");
      io.to(b.socket.id).emit("private");
      mine.socket.broadcast.emit("not me");
      io.emit("binary", Buffer.alloc(2_500_000, 1));
    });
    const [first, second] = [["all", "red", "red, not blue"], ["all", "red", "blue", "private"]];
    (mine === a ? second : first).push("not me");
    assert.deepEqual(heard, [[...first, "binary"], [...second, "binary"]]);
  }
});

test("a join by the other node's app server is visible everywhere when it resolves", async (t) => {
  const { one, two, a, b } = await nodes(t);
  for (let round = 0; round < 50; round++) {
    const room = `room ${round}`;
    one.in(b.socket.id).socketsJoin(room);
    await one.fetchSockets();
    const ids = async (io) => (await io.in(room).fetchSockets()).map(({ id }) => id);
    assert.deepEqual(await ids(two), [b.socket.id]);
    assert.deepEqual(await ids(one), [b.socket.id]);
    await a.socket.join(room);
    const heard = await hearing(two, [a.client, b.client], () => two.to(room).emit("hello"));
    assert.deepEqual(heard, [["hello"], ["hello"]]);
  }
});

test("acks, fetched sockets, events among app servers and disconnects cross nodes", async (t) => {
  const { one, two, a, b } = await nodes(t);
  a.client.on("ask", (reply) => reply("a"));
  b.client.on("ask", (reply) => reply("b"));
  a.socket.data.of = "a";
  b.socket.data.of = "b";
  assert.deepEqual((await one.timeout(5000).emitWithAck("ask")).sort(), ["a", "b"]);
  const [remote] = await one.in(b.socket.id).fetchSockets();
  assert.deepEqual(remote.data, { of: "b" });
  two.on("hello", (reply) => reply("from two"));
  assert.deepEqual(await one.serverSideEmitWithAck("hello"), ["from two"]);
  const gone = next(b.client, "disconnect");
  one.in(b.socket.id).disconnectSockets(true);
  assert.deepEqual((await gone)[0], "io server disconnect");
  const all = await one.fetchSockets();
  assert.deepEqual([all.map(({ id }) => id), missingServers(all)], [[a.socket.id], []]);
});

test("kill -9 of a node: whoever waits for it is told, and traffic goes on", async (t) => {
  const { one, two, a, b } = await nodes(t);
  a.client.on("ask", (reply) => reply("a"));
  two.moorage.on("error", () => {});
  const gone = next(b.client, "disconnect");
  await services[1].kill();
  await gone;
  const began = Date.now();
  const found = await one.timeout(20_000).fetchSockets();
  assert.deepEqual([found.map(({ id }) => id), missingServers(found)], [[a.socket.id], ["second"]]);
  assert.ok(Date.now() - began < 15_000, `${Date.now() - began} ms`);
  assert.equal(await services[0].metric("moorage_cluster_nodes"), 1);
  assert.deepEqual(await one.timeout(5000).emitWithAck("ask"), ["a"]);
  assert.deepEqual(missingServers(await one.fetchSockets()), []);
  await services[1].restart();
  await poll(async () => (await services[0].metric("moorage_cluster_nodes")) === 2, "two nodes again");
});
