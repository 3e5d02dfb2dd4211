// Native Socket.IO: one process that holds the clients and runs the app.
import { createServer } from "node:http";
import { Server } from "native-socket.io";
import { control, options, serve } from "../app/handlers.mjs";

const http = createServer();
const io = new Server(http, options);
serve(io);
http.listen({ host: "127.0.0.1", port: 0, backlog: 4096 }, () => control(io, { port: http.address().port }));
