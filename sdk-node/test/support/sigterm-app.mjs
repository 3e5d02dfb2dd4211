// An app server that hands its clients over at a SIGTERM: node sigterm-app.mjs HUB CONNECTION_STRING
import { Server } from "socket.io";

import { useMoorage } from "../../dist/esm/index.js";

const [hub, connectionString] = process.argv.slice(2);
const io = new Server();
io.on("connection", (socket) => socket.on("who", (ack) => ack("app")));
await useMoorage(io, { hub, connectionString, handOverOnSigterm: true });
console.log("ready");
setInterval(() => {}, 1000);
