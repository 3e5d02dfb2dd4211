// An app server that runs under Bun. It prints one JSON object per line: the runtime once the link is up, then each
// socket that has disconnected.

import { Server } from "socket.io";

import { useMoorage } from "../../dist/esm/index.js";

const [connectionString, hub] = process.argv.slice(2);
const print = (line) => console.log(JSON.stringify(line));

const io = new Server();
io.use((socket, next) => next(socket.handshake.auth.name === "mallory" ? new Error("no entry") : undefined));
io.on("connection", (socket) => {
  socket.data.name = socket.handshake.auth.name;
  socket.on("echo", (...args) => args.pop()(...args));
  socket.on("join", async (room, answer) => answer(await socket.join(room)));
  socket.on("say", (room, text) => io.to(room).except(socket.id).emit("said", text, Buffer.from([0, 1, 255])));
  socket.on("ask everybody", async (answer) => answer(await io.timeout(5_000).emitWithAck("question")));
  socket.on("fetch", async (room, answer) => {
    const sockets = await io.in(room).fetchSockets();
    answer(sockets.map(({ id, data, rooms }) => ({ id, name: data.name, rooms: [...rooms].sort() })));
  });
  socket.on("send away", (id) => io.in(id).disconnectSockets());
  socket.on("disconnect", (reason) => print({ left: socket.data.name, reason }));
});
await useMoorage(io, { hub, connectionString });
print({ bun: process.versions.bun });
process.once("SIGTERM", () => io.close());
