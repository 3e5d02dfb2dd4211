// Disconnects during the transport upgrade, natively and behind a service.

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { after, before, describe, test } from "node:test";

import { Server } from "socket.io";

import { earlyEnds, NATIVE, WAYS } from "../../../tests/node/lib/early-ends.mjs";
import { Service } from "../../../tests/node/lib/service.mjs";
import { world } from "../support/world.mjs";

let service;
before(async () => (service = await Service.start()));
after(() => service.stop());

for (const way of Object.keys(WAYS)) {
  describe(`[repair 12] ${way} during the upgrade`, () => {
    test("[repair 12] native Socket.IO delivers everything before it", async (t) => {
      const http = createServer();
      http.listen(0, "127.0.0.1");
      await once(http, "listening");
      const io = new Server(http);
      t.after(() => io.close());
      const outcomes = await earlyEnds(io, `http://127.0.0.1:${http.address().port}`, {}, way);
      assert.deepEqual(outcomes, { [NATIVE[way]]: 36 });
    });

    test("[repair 12] and so does a service", async (t) => {
      const w = world(t, service);
      const io = await w.app();
      const path = `/clients/socketio/hubs/${w.hub}`;
      assert.deepEqual(await earlyEnds(io, service.url, { path }, way), { [NATIVE[way]]: 36 });
    });
  });
}
