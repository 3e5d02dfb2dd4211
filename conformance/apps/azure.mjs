// The published SDK for Azure's service, as the package comes.

import { createRequire } from "node:module";

import { app } from "./socketio.mjs";

const require = createRequire(new URL("../../tests/node/package.json", import.meta.url));
const { useAzureSocketIO } = require("@azure/web-pubsub-socket.io");

app({
  Server: require("socket.io").Server,
  attach: async (io, options) => void (await useAzureSocketIO(io, options)),
});
