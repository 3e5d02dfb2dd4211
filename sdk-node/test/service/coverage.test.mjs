// One app server with a session at each of several nodes.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

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
