// Large emits and bursts, over each transport.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { burst, manyFromOneClient, oneLargeEmit } from "../../../tests/node/lib/large-emits.mjs";
import { Service } from "../../../tests/node/lib/service.mjs";
import { next } from "../../../tests/node/lib/waiting.mjs";
import { MoorageError } from "../../dist/esm/index.js";
import { world } from "../support/world.mjs";

let service;
before(async () => (service = await Service.start({ set: ["limits.outbox_bytes=1MiB"] })));
after(() => service.stop());

// A client that has upgraded reads like one that was over WebSocket from the start.
for (const transport of ["websocket", "polling"]) {
  describe(`[repair 15] over ${transport}`, () => {
    test("[repair 15] one large emit reaches idle clients", async (t) => {
      await oneLargeEmit(world(t, service, transport));
    });

    test("[repair 15] a burst reaches a client", async (t) => {
      await burst(world(t, service, transport));
    });

    test("[repair 15] many events of one tick reach the app", async (t) => {
      await manyFromOneClient(world(t, service, transport), 1_500);
      await manyFromOneClient(world(t, service, transport), 20_000);
    });
  });
}

test("[repair 15] an emit above the link's maximum throws, and the error names the setting", async (t) => {
  const w = world(t, service);
  const io = await w.app();
  const { client, socket } = await w.pair(io);
  const large = "x".repeat(17 * 1024 * 1024);
  for (const emit of [() => io.emit("large", large), () => socket.emit("large", large)])
    assert.throws(emit, (error) => error instanceof MoorageError && /links\.max_frame/.test(error.message));
  const end = next(client, "end");
  io.emit("end");
  await end;
});
