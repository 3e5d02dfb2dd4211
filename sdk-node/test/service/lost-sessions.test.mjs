// App servers that still hold sockets and questions of a lost session reach nobody with them after the service has
// restarted.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { Log, next, within } from "../../../tests/node/lib/waiting.mjs";
import { Service } from "../../../tests/node/lib/service.mjs";
import { world } from "../support/world.mjs";

let service;
before(async () => (service = await Service.start()));
after(() => service.stop());

/** Restarts the service; resolves when each app server has a new session. */
async function restart(...apps) {
  const restored = apps.map((io) => next(io.moorage, "restored"));
  const lost = apps.map((io) => next(io.moorage, "lost"));
  await service.kill();
  await Promise.all(lost);
  await service.restart();
  for (const resumed of await Promise.all(restored)) assert.deepEqual(resumed, [false]);
}

test("an old socket, and the ack of its event, reach no client of the new session", async (t) => {
  const w = world(t, service);
  const io = await w.app();
  const old = await w.pair(io);
  const ack = new Promise((resolve) => old.socket.on("question", resolve));
  old.client.emit("question", () => {});
  const answer = await ack;
  await restart(io);
  const { client } = await w.pair(io);
  const packets = [];
  client.io.engine.on("message", (packet) => packets.push(packet));
  const log = new Log(client);
  answer("late");
  old.socket.emit("late");
  old.socket.emit("late", Buffer.from([1]));
  old.socket.volatile.emit("late");
  old.socket.disconnect(true);
  old.socket.conn.close();
  io.emit("fence");
  assert.deepEqual(await log.upTo("fence"), []);
  assert.deepEqual(packets, ['2["fence"]']);
  assert.equal(client.connected, true);
});

test("a late answer to a serverSideEmit of the old session does not answer a question of the new one", async (t) => {
  const w = world(t, service);
  const [asker, answerer] = [await w.app({ moorage: { requestsTimeout: 20_000 } }), await w.app()];
  const replies = [];
  let heard;
  answerer.on("question", (reply) => {
    replies.push(reply);
    heard?.();
  });
  const arrived = () => within(new Promise((resolve) => (heard = resolve)), "the question");
  const ask = () => new Promise((resolve) => asker.serverSideEmit("question", (error, answers) => resolve({ error, answers })));
  const unanswered = ask();
  await arrived();
  await restart(asker, answerer);
  assert.equal((await unanswered).error.reason, "session-lost");
  const answered = ask();
  await arrived();
  replies[0]("old");
  replies[1]("new");
  assert.deepEqual(await answered, { error: null, answers: ["new"] });
});
