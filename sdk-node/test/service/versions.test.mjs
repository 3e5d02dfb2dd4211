// The releases of socket.io that this package supports, and those that it refuses.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { after, before, test } from "node:test";

import { useAzureSocketIO, useMoorage } from "../../dist/esm/index.js";
import { Service } from "../../../tests/node/lib/service.mjs";
import { hearing, world } from "../support/world.mjs";

const require = createRequire(import.meta.url);

/** Not every release lets its package.json be imported. */
const versionOf = (name) => JSON.parse(readFileSync(new URL(`../../node_modules/${name}/package.json`, import.meta.url))).version;

let service;
before(async () => (service = await Service.start()));
after(() => service.stop());

for (const [name, version] of [["socket.io-312", "3.1.2"], ["socket.io-441", "4.4.1"], ["socket.io-475", "4.7.5"]])
  test(`[repair 29] socket.io ${version} is refused, and left as it was`, async () => {
    assert.equal(versionOf(name), version);
    const { Server } = require(name);
    const io = new Server();
    const adapter = io.of("/").adapter;
    for (const use of [useMoorage, useAzureSocketIO])
      await assert.rejects(use(io, { hub: "app", connectionString: service.connectionString() }), (error) => {
        assert.equal(error.reason, "socket.io-version");
        assert.match(error.message, /Supported are 4\.8\.0 and later 4\.x: npm install socket\.io@4\.8/);
        return true;
      });
    assert.equal(io.of("/").adapter, adapter);
  });

for (const name of ["socket.io-480", "socket.io"])
  test(`[repair 29] ${name} works`, async (t) => {
    const { Server } = require(name);
    assert.match(versionOf(name), name === "socket.io" ? /^4\.8\./ : /^4\.8\.0$/);
    const w = world(t, service);
    const io = await w.app({ io: new Server() });
    const { client, socket } = await w.pair(io);
    client.on("question", (answer) => answer("yes"));
    await socket.join("room");
    assert.deepEqual(await hearing(io, [client], () => io.to("room").emit("news")), [["news"]]);
    assert.deepEqual(await io.in("room").timeout(20_000).emitWithAck("question"), ["yes"]);
    assert.equal(await socket.emitWithAck("question"), "yes");
    const other = await w.app({ io: new Server() });
    const [fetched] = await other.fetchSockets();
    assert.deepEqual([fetched.id, fetched.rooms.has("room")], [client.id, true]);
  });
