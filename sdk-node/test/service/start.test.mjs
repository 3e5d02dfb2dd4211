// The start of an app server: useMoorage without await, and limits above the service's.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { after, before, test } from "node:test";

import { Server } from "socket.io";

import { useMoorage } from "../../dist/esm/index.js";
import { Service } from "../../../tests/node/lib/service.mjs";
import { next } from "../../../tests/node/lib/waiting.mjs";
import { world } from "../support/world.mjs";

const MAX_PAYLOAD = 200_000;
const require = createRequire(import.meta.url);

let service;
before(async () => (service = await Service.start({ set: [`limits.max_payload=${MAX_PAYLOAD}`] })));
after(() => service.stop());

for (const wanted of [MAX_PAYLOAD, MAX_PAYLOAD + 1]) {
  test(`[repair 23] maxHttpBufferSize of ${wanted} beside a limit of ${MAX_PAYLOAD}`, async (t) => {
    const io = new Server({ maxHttpBufferSize: wanted });
    t.after(() => io.close());
    const lines = [];
    await useMoorage(io, { hub: "start", connectionString: service.connectionString(), log: (line) => lines.push(line) });
    const told = `maxHttpBufferSize is ${wanted}, but the service accepts at most ${MAX_PAYLOAD} bytes`;
    assert.equal(lines.length, wanted > MAX_PAYLOAD ? 1 : 0);
    for (const line of lines) assert.equal(line.startsWith(told) && line.includes("limits.max_payload"), true, line);
  });
}

test("[repair 31] the option cors causes a warning", async (t) => {
  for (const [options, count] of [[{ cors: { origin: "*" } }, 1], [{}, 0]]) {
    const io = new Server(options);
    t.after(() => io.close());
    const lines = [];
    await useMoorage(io, { hub: "start", connectionString: service.connectionString(), log: (line) => lines.push(line) });
    const told = lines.filter((line) => line.includes("cors.allow_origins"));
    assert.equal(told.length, count);
  }
});

test("[repair 23] from CommonJS, without await: handlers registered right after it apply", async (t) => {
  const common = require("../../dist/cjs/index.js");
  const w = world(t, service);
  const io = new Server();
  t.after(() => io.close());
  const linked = common.useMoorage(io, { hub: w.hub, connectionString: service.connectionString() });
  // All in the tick of the call: the link is not up yet and there are no clients, as natively.
  io.emit("to nobody");
  io.on("connection", (socket) => socket.on("echo", (value, answer) => answer(value)));
  io.of("/other").use((socket, next) => next(new Error("refused here")));
  // Stock clients that connect too early get a 503 and try again.
  const client = w.socket({ hub: w.hub, reconnection: true, reconnectionDelay: 50 });
  assert.equal(await client.timeout(20_000).emitWithAck("echo", "hello"), "hello");
  const other = w.socket({ hub: w.hub, nsp: "/other", reconnection: true, reconnectionDelay: 50 });
  assert.equal((await next(other, "connect_error"))[0].message, "refused here");
  await linked;
});
