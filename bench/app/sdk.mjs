// The app behind a service: our Node.js SDK on the same socket.io as the native half.
import { createServer } from "node:http";
import { Server } from "native-socket.io";
import { useMoorage } from "../../sdk-node/dist/esm/index.js";
import { control, options, remember, serve } from "./handlers.mjs";

const io = new Server(createServer(), options);
serve(io);
if (process.env.BENCH_REMEMBER) remember(io);
const { BENCH_HUB: hub, BENCH_CONNECTION_STRING: connectionString, BENCH_NODES: nodes } = process.env;
const moorage = await useMoorage(io, { hub, connectionString });
while (moorage.nodes.length < Number(nodes ?? 1)) await new Promise((resolve) => setTimeout(resolve, 20));
io.handOver = () => moorage.handOver();
control(io, {});
