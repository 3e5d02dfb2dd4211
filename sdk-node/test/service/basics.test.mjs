// The way from a client through the service to the app and back.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { Service } from "../../../tests/node/lib/service.mjs";
import { Log, next } from "../../../tests/node/lib/waiting.mjs";
import { overEachTransport, world } from "../support/world.mjs";

let service;
before(async () => (service = await Service.start()));
after(() => service.stop());

overEachTransport((transport) => {
  describe(`over ${transport}`, () => {
    test("an event reaches the app, an ack comes back", async (t) => {
      const w = world(t, service, transport);
      const io = await w.app();
      io.on("connection", (socket) => socket.on("echo", (value, answer) => answer(value)));
      const client = await w.client();
      assert.deepEqual(await client.emitWithAck("echo", { a: [1, "zwei", null] }), { a: [1, "zwei", null] });
    });

    test("binary goes both ways", async (t) => {
      const w = world(t, service, transport);
      const io = await w.app();
      io.on("connection", (socket) => socket.on("echo", (value, answer) => answer(value, Buffer.from([9]))));
      const client = await w.client();
      const { a, b } = await client.emitWithAck("echo", { a: Buffer.from([1, 2]), b: Buffer.from("x") });
      assert.deepEqual([[...a], [...b]], [[1, 2], [0x78]]);
      io.emit("both", Buffer.from([0]), { deep: [new Uint8Array([7, 8]).subarray(1)] });
      const [first, { deep }] = await next(client, "both");
      assert.deepEqual([[...first], [...deep[0]]], [[0], [8]]);
    });

    test("the client answers the app", async (t) => {
      const w = world(t, service, transport);
      const io = await w.app();
      const { client, socket } = await w.pair(io);
      client.on("question", (value, answer) => answer(value + 1));
      assert.equal(await socket.emitWithAck("question", 41), 42);
      await assert.rejects(socket.timeout(20).emitWithAck("nobody listens"), /timed out/);
    });

    test("broadcasts reach all, rooms reach their members, except leaves out", async (t) => {
      const w = world(t, service, transport);
      const io = await w.app();
      const pairs = [await w.pair(io), await w.pair(io), await w.pair(io)];
      const logs = pairs.map(({ client }) => new Log(client));
      const [a, b, c] = pairs.map(({ socket }) => socket);
      a.join("red");
      b.join(["red", "blue"]);
      io.emit("all");
      io.to("red").emit("red");
      io.to(["red", "blue"]).except(a.id).emit("not a");
      c.broadcast.emit("others of c");
      b.to("red").emit("others in red");
      io.to(c.id).emit("c alone");
      io.emit("end");
      assert.deepEqual(
        (await Promise.all(logs.map((log) => log.upTo("end")))).map((log) => log.map(([name]) => name)),
        [
          ["all", "red", "others of c", "others in red"],
          ["all", "red", "not a", "others of c"],
          ["all", "c alone"],
        ],
      );
    });

    test("both sides get a disconnect", async (t) => {
      const w = world(t, service, transport);
      const io = await w.app();
      const first = await w.pair(io);
      const gone = next(first.socket, "disconnect");
      first.client.disconnect();
      assert.equal((await gone)[0], "client namespace disconnect");
      const second = await w.pair(io);
      const left = next(second.client, "disconnect");
      const here = next(second.socket, "disconnect");
      second.socket.disconnect();
      assert.equal((await left)[0], "io server disconnect");
      assert.equal((await here)[0], "server namespace disconnect");
      const third = await w.pair(io);
      const closed = next(third.socket, "disconnect");
      third.client.io.engine.close();
      assert.equal((await closed)[0], "transport close");
      assert.equal(io.engine.clientsCount <= 1, true);
    });
  });
});
