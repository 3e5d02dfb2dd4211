// Large emits and bursts with Azure's package, over each transport.

import { after, before, describe, it } from "node:test";

import { burst, manyFromOneClient, oneLargeEmit } from "../lib/large-emits.mjs";
import { Service } from "../lib/service.mjs";
import { world } from "../lib/world.mjs";

let service;
before(async () => (service = await Service.start({ set: ["limits.outbox_bytes=1MiB"] })));
after(() => service.stop());

// A client that has upgraded reads like one that was over WebSocket from the start.
for (const transport of ["websocket", "polling"]) {
  describe(`[repair 15] over ${transport}`, () => {
    it("[repair 15] one large emit reaches idle clients", async (t) => {
      await oneLargeEmit(world(t, service, transport));
    });

    it("[repair 15] a burst reaches a client", async (t) => {
      await burst(world(t, service, transport));
    });

    it("[repair 15] many events of one tick reach the app", async (t) => {
      await manyFromOneClient(world(t, service, transport), 1_500);
    });
  });
}
