// The app behind a service: our Node.js SDK on the same socket.io as the native half.
import { createServer } from "node:http";
import { Server } from "native-socket.io";
import { useMoorage } from "../../sdk-node/dist/esm/index.js";
import { control, options, remember, serve } from "./handlers.mjs";

const io = new Server(createServer(), options);
serve(io);
if (process.env.BENCH_REMEMBER) remember(io);
await useMoorage(io, { hub: process.env.BENCH_HUB, connectionString: process.env.BENCH_CONNECTION_STRING });
control(io, {});
