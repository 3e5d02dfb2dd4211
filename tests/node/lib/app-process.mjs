// An app server process that runs the functions sent by its parent.

import { createServer } from "node:http";

import { Server } from "socket.io";
import azure from "@azure/web-pubsub-socket.io";

const [connectionString, hub] = process.argv.slice(2);
const io = new Server(createServer());
const ready = azure.useAzureSocketIO(io, { hub, connectionString });

process.on("message", async ({ id, body, args }) => {
  try {
    await ready;
    const result = await (0, eval)(`(${body})`)(io, ...args);
    process.send({ id, result });
  } catch (error) {
    process.send({ id, error: String(error) });
  }
});
process.on("disconnect", () => process.exit());
