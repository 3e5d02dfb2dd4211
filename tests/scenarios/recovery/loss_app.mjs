// The app server of loss.mjs in Node.js. Its commands come on stdin, and what it has seen goes to stdout, in JSON lines.

import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const [connectionString, quiet] = process.argv.slice(2);
const require = createRequire(new URL("../../../sdk-node/package.json", import.meta.url));
const { Server } = require("socket.io");
const { useMoorage } = await import(new URL("../../../sdk-node/dist/esm/index.js", import.meta.url));

const faults = [];
const io = new Server({ connectionStateRecovery: { maxDisconnectionDuration: 60_000 } });
const serverId = process.env.SERVER_ID || undefined;
const link = await useMoorage(io, { hub: "app", connectionString, serverId, quietRecovery: quiet === "quiet" });
link.on("error", (error) => faults.push(String(error)));

const recovered = [];
const served = new Map();
io.on("connection", (socket) => {
  if (socket.recovered) recovered.push({ id: socket.id, rooms: [...socket.rooms].sort(), name: socket.data.name });
  else {
    socket.data.name = `data of ${socket.id}`;
    socket.join(["news", `room of ${socket.id}`]);
  }
  served.set(socket.id, socket);
  socket.on("disconnect", () => served.delete(socket.id));
});

const app = String(process.pid);
const counts = { app, number: 0, direct: 0 };
function emit() {
  counts.number += 1;
  io.to("news").emit("news", counts.number, app);
  io.emit("all", counts.number, app);
}
const say = (message) => process.stdout.write(`${JSON.stringify(message)}\n`);
let timer;
const commands = {
  served: () => ({ served: served.size }),
  emit: () => emit(),
  direct: () => {
    counts.direct += 1;
    for (const socket of served.values()) socket.emit("direct", counts.direct, app);
  },
  ask: () => {
    for (const socket of served.values()) socket.timeout(30_000).emit("ask", 1, () => {});
  },
  begin: () => void (timer = setInterval(emit, 5)),
  stop: () => void clearInterval(timer),
  counts: () => ({ ...counts, recovered, faults }),
};
say("ready");
for await (const line of createInterface({ input: process.stdin })) say(commands[line]() ?? null);
