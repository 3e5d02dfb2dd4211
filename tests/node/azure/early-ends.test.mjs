// Disconnects during the transport upgrade, with Azure's package.

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";

import { earlyEnds, NATIVE, WAYS } from "../lib/early-ends.mjs";
import { Service } from "../lib/service.mjs";
import { world } from "../lib/world.mjs";

let service;
before(async () => (service = await Service.start()));
after(() => service.stop());

describe("[repair 12] an end during the upgrade arrives after everything that was sent before", () => {
  for (const way of Object.keys(WAYS)) {
    it(`[repair 12] ${way}`, async (t) => {
      const w = world(t, service);
      const io = await w.app();
      const path = `/clients/socketio/hubs/${w.hub}`;
      const outcomes = await earlyEnds(io, service.url, { path }, way);
      // In the package itself, a disconnect may overtake an emit, over WebSocket alone too.
      const without = NATIVE[way].replace("hello, ", "");
      assert.deepEqual(Object.keys(outcomes).filter((found) => ![NATIVE[way], without].includes(found)), []);
    });
  }
});
