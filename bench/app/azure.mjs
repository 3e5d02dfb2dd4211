// The same app behind a service: Azure's published SDK, unchanged, and a connection string.
import { createServer } from "node:http";
import { Server } from "socket.io";
import "@azure/web-pubsub-socket.io";
import { control, options, serve } from "./handlers.mjs";

const io = new Server(createServer(), options);
await io.useAzureSocketIO({ hub: process.env.BENCH_HUB, connectionString: process.env.BENCH_CONNECTION_STRING });
serve(io);
control(io, {});
