// Stock `socket.io` on a port of its own, with which the others are compared. Its server id is its URL.

import { createRequire } from "node:module";

import { app } from "./socketio.mjs";

app({
  Server: createRequire(new URL("../../tests/node/package.json", import.meta.url))("socket.io").Server,
  attach: async ({ httpServer }) => {
    await new Promise((listening) => httpServer.listen(0, "127.0.0.1", listening));
    return `http://127.0.0.1:${httpServer.address().port}`;
  },
});
