// An app server of a scenario: `app.mjs node` with our SDK, `app.mjs azure` with Azure's. It reports each
// connect, disconnect and event when it happens, because a scenario may kill it.

import { createRequire } from "node:module";
import { createServer } from "node:http";

import { listen, notice } from "../../../conformance/lines.mjs";

const KINDS = {
  azure: async () => {
    const require = createRequire(new URL("../../node/package.json", import.meta.url));
    const { useAzureSocketIO } = require("@azure/web-pubsub-socket.io");
    return [require("socket.io").Server, async (io, options) => void (await useAzureSocketIO(io, options))];
  },
  node: async () => {
    const require = createRequire(new URL("../../../sdk-node/package.json", import.meta.url));
    const { useMoorage } = await import(new URL("../../../sdk-node/dist/esm/index.js", import.meta.url));
    return [require("socket.io").Server, useMoorage];
  },
};

let io;
let emitting;
let emitted = 0;

listen({
  start: async ({ label, options }) => {
    const [Server, attach] = await KINDS[process.argv[2]]();
    io = new Server(createServer());
    io.on("connection", (socket) => {
      const { name } = socket.handshake.auth;
      notice("connect", { sid: socket.id, client: name });
      socket.join("room");
      socket.on("disconnect", (reason) => notice("disconnect", { sid: socket.id, client: name, reason }));
      socket.on("count", (number, ack) => {
        notice("taken", { sid: socket.id, client: name, number });
        ack(number);
      });
    });
    const moorage = await attach(io, options);
    moorage?.on("error", (error) => notice("problem", { message: error.message }));
  },
  emit: ({ label, every, size }) => {
    const rest = "x".repeat(size);
    emitting = setInterval(() => io.to("room").emit("news", label, ++emitted, rest), every);
  },
  hush: () => {
    clearInterval(emitting);
    return emitted;
  },
});
