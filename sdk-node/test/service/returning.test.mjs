// Stock clients that lose their connection and come back, on a running service.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { Service } from "../../../tests/node/lib/service.mjs";
import { next, poll } from "../../../tests/node/lib/waiting.mjs";
import { overEachTransport, world } from "../support/world.mjs";

let service;
before(async () => (service = await Service.start()));
after(() => service.stop());

const RECOVERY = { connectionStateRecovery: { maxDisconnectionDuration: 60_000 } };
const RECONNECT = { reconnection: true, reconnectionDelay: 50, reconnectionDelayMax: 50 };

/** A connected client that keeps what it receives in `heard`, without the offsets. */
async function listening(w, options = {}) {
  const client = await w.client({ ...RECONNECT, ...options });
  client.heard = [];
  client.onAny((...args) => client.heard.push(args.slice(0, -1)));
  return client;
}

describe("recovery", () => {
  overEachTransport((transport) => {
    test(`a client that comes back misses nothing (${transport})`, async (t) => {
      const w = world(t, service, transport);
      const io = await w.app(RECOVERY);
      const seen = [];
      io.on("connection", (socket) => {
        seen.push([socket.id, socket.recovered, socket.rooms.has("room"), socket.data.name]);
        if (socket.recovered) return;
        socket.join("room");
        socket.data.name = "x";
      });
      const client = await listening(w);
      const { id } = client;
      await poll(() => seen.length === 1);
      for (const round of [1, 2, 3]) {
        const back = next(client, "connect");
        const away = next(client, "disconnect");
        client.io.engine.close();
        await away;
        io.to("room").emit("missed", round);
        io.emit("binary", Buffer.from([round]));
        io.to("other").emit("not for it");
        io.except("room").emit("not for it");
        await back;
        assert.deepEqual([client.recovered, client.id], [true, id]);
        io.to("room").emit("live", round);
        await poll(() => client.heard.length === 3 * round);
      }
      const expected = [1, 2, 3].flatMap((n) => [
        ["missed", n],
        ["binary", Buffer.from([n])],
        ["live", n],
      ]);
      assert.deepEqual(client.heard, expected);
      assert.deepEqual(seen, [[id, false, false, undefined], ...Array(3).fill([id, true, true, "x"])]);
    });
  });

  test("a foreign pid yields a fresh session, a line in the log, and a metric", async (t) => {
    const w = world(t, service);
    const io = await w.app(RECOVERY);
    const client = await listening(w, { auth: { pid: "guessed", offset: "guessed.1" } });
    io.emit("hello");
    await poll(() => client.heard.length === 1, "the event");
    assert.equal(client.recovered ?? false, false);
    await service.record({ event: "recovery refused", cause: "unknown", hub: w.hub });
    assert.equal(await service.metric('moorage_recovery_refused_total{cause="unknown"}'), 1);
    assert.ok((await service.metric("moorage_recovery_kept_events")) >= 1);
  });
});
