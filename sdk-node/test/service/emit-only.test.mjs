// App servers that only emit, with and without the option emitOnly.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { Server } from "socket.io";

import { Service } from "../../../tests/node/lib/service.mjs";
import { next } from "../../../tests/node/lib/waiting.mjs";
import { world } from "../support/world.mjs";

let service;
before(async () => (service = await Service.start()));
after(() => service.stop());

describe("emitOnly", () => {
  test("[repair 14] a worker emits to all clients and gets none", async (t) => {
    const w = world(t, service);
    const worker = await w.app({ moorage: { emitOnly: true } });
    const io = new Server();
    io.on("connection", () => {});
    await w.app({ io });
    const clients = await w.clients(4);
    assert.deepEqual([worker.moorage.clientsCount, io.moorage.clientsCount], [0, 4]);
    const heard = clients.map((client) => next(client, "news"));
    worker.emit("news", 1);
    assert.deepEqual(await Promise.all(heard), [[1], [1], [1], [1]]);
  });

  test("[repair 14] an app server with clients and no handler is warned once; one with a middleware is not", async (t) => {
    const w = world(t, service);
    const lines = [];
    const log = (line) => lines.push(line);
    await w.app({ moorage: { log } });
    await w.client();
    await w.client();
    assert.equal(lines.filter((line) => line.includes("emitOnly: true")).length, 1);
    const other = world(t, service);
    const io = new Server();
    io.use((_socket, done) => done());
    await other.app({ io, moorage: { log } });
    await other.client();
    assert.equal(lines.length, 1);
  });
});
