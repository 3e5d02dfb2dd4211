// Native Socket.IO on one of several servers that find each other through Redis.
import { createServer } from "node:http";
import { createAdapter } from "@socket.io/redis-adapter";
import { Server } from "native-socket.io";
import { createClient } from "redis";
import { control, options, remember, serve } from "../app/handlers.mjs";

const publisher = createClient({ url: `redis://127.0.0.1:${process.env.BENCH_REDIS_PORT}` });
const subscriber = publisher.duplicate();
await Promise.all([publisher.connect(), subscriber.connect()]);

const http = createServer();
// Far above what any answer takes here: a time-out would be a wrong figure, not a slow one.
const io = new Server(http, { ...options, adapter: createAdapter(publisher, subscriber, { requestsTimeout: 60_000 }) });
serve(io);
if (process.env.BENCH_REMEMBER) remember(io);
http.listen({ host: "127.0.0.1", port: 0, backlog: 4096 }, () => control(io, { port: http.address().port }));
