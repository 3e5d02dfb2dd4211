// Native Socket.IO on Bun: the same app, with Bun's HTTP server and WebSockets under `@socket.io/bun-engine`.
import { Server as Engine } from "@socket.io/bun-engine";
import { Server } from "native-socket.io";
import { control, options, serve } from "../app/handlers.mjs";

const engine = new Engine({ path: "/socket.io/", ...options });
const io = new Server(options);
io.bind(engine);
serve(io);
// The engine derives the idle time from the ping interval, and Bun takes no longer one than this.
const idleTimeout = 255;
const http = Bun.serve({ hostname: "127.0.0.1", port: 0, ...engine.handler(), idleTimeout });
control(io, { port: http.port });
