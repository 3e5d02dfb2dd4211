// A process with app servers, one for each hub. It runs the functions sent by its parent.

import { createServer } from "node:http";

import { Server } from "socket.io";
import azure from "@azure/web-pubsub-socket.io";

const apps = new Map();

async function start(hub, connectionString) {
  const io = new Server(createServer());
  await azure.useAzureSocketIO(io, { hub, connectionString });
  return io;
}

process.on("message", async ({ id, hub, connectionString, body, args }) => {
  try {
    if (!apps.has(hub)) apps.set(hub, start(hub, connectionString));
    const result = await (0, eval)(`(${body})`)(await apps.get(hub), ...args);
    process.send({ id, result });
  } catch (error) {
    process.send({ id, error: String(error) });
  }
});
process.on("disconnect", () => process.exit());
