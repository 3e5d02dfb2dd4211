// An app that does with its clients what apps do: answers them, asks them, shows them to others. It writes a line
// for each error that comes out of the package; none should, whatever its clients send.

import { Server } from "socket.io";

import { useMoorage } from "../../dist/esm/index.js";

process.on("uncaughtException", (error) => console.log(`uncaught ${error.stack}`));
process.on("unhandledRejection", (error) => console.log(`unhandled ${error}`));

const io = new Server({ connectTimeout: 2_000 });
const moorage = await useMoorage(io, JSON.parse(process.argv[2]));
moorage.on("error", (error) => console.log(`reported ${error.stack}`));

/** Answers that came to broadcasts, by the way they were asked for. */
const answers = { io: [], socket: [] };
for (const namespace of [io.of("/"), io.of("/a"), io.of(/^\/dynamic/)])
  namespace.on("connection", (socket) => {
    socket.onAny((_name, ...args) => typeof args.at(-1) === "function" && args.at(-1)("answered"));
    socket.timeout(300).emit("ask", (_error, ...given) => answers.socket.push(given));
    socket.nsp.to(socket.id).timeout(300).emit("ask", (_error, given) => answers.io.push(given));
    socket.join([`room ${JSON.stringify(socket.handshake.auth)}`.slice(0, 100), String(socket.handshake.query.room)]);
    socket.data = { auth: socket.handshake.auth };
  });
io.of("/bystander").on("connection", (socket) =>
  socket.on("look", async (answer) => {
    const sockets = await io.fetchSockets();
    answer({ sockets: sockets.length, answers });
  }),
);
console.log("ready");
