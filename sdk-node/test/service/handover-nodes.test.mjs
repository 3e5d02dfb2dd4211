// An app server with a session at each of two nodes gives all its clients away.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { next } from "../../../tests/node/lib/waiting.mjs";
import { Cluster } from "../support/cluster.mjs";
import { hearing, world } from "../support/world.mjs";

let cluster;
before(async () => {
  cluster = await Cluster.start("first", "second");
});
after(() => cluster?.stop());

test("each node moves its own clients, and the answer counts all of them", async (t) => {
  const worlds = cluster.nodes.map((node) => world(t, node));
  const [here] = worlds;
  for (const there of worlds) there.hub = here.hub;
  const one = await here.app();
  const pairs = [];
  for (const there of worlds) pairs.push(await there.pair(one));
  const ends = [];
  for (const [number, { client, socket }] of pairs.entries()) {
    await socket.join("red");
    socket.data.number = number;
    for (const end of [client, socket]) end.on("disconnect", (why) => ends.push(why));
  }
  const other = await here.app();
  const arrived = [];
  other.on("connection", (socket) => arrived.push(socket));
  other.on("connection", (socket) => socket.on("who", (ack) => ack("other", socket.data.number)));
  assert.deepEqual(await one.moorage.handOver(), { moved: 2, missing: [] });
  assert.deepEqual(arrived.map(({ id }) => id).sort(), pairs.map(({ client }) => client.id).sort());
  for (const [number, { client }] of pairs.entries()) {
    const answer = new Promise((resolve) => client.emit("who", (...values) => resolve(values)));
    assert.deepEqual(await answer, ["other", number]);
  }
  const heard = await hearing(other, pairs.map(({ client }) => client), () => {
    other.to("red").emit("red");
    one.to("red").emit("red of one");
    for (const socket of arrived) socket.emit("own");
  });
  assert.deepEqual(heard.map((names) => names.filter((name) => name !== "red of one")), [["red", "own"], ["red", "own"]]);
  const again = next(other, "connection");
  await worlds[1].client();
  await again;
  assert.equal(one.moorage.clientsCount, 0);
  assert.deepEqual(ends, []);
});
