// Our SDK for Node.js, as `npm install` leaves it in its folder.

import { createRequire } from "node:module";

import { notice } from "../lines.mjs";
import { app } from "./socketio.mjs";

const require = createRequire(new URL("../../sdk-node/package.json", import.meta.url));
const { missingServers, useMoorage } = await import(new URL("../../sdk-node/dist/esm/index.js", import.meta.url));

app({
  Server: require("socket.io").Server,
  attach: async (io, options) => {
    const moorage = await useMoorage(io, options);
    moorage.on("lost", () => notice("link", { state: "lost" }));
    moorage.on("restored", (resumed) => notice("link", { state: "restored", resumed }));
    moorage.on("closed", () => notice("link", { state: "closed" }));
    moorage.on("error", (error) => notice("problem", { message: error.message }));
    io.handOver = () => moorage.handOver();
    return moorage.serverId;
  },
  missing: missingServers,
});
