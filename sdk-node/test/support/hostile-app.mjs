// An app that answers its clients, asks them for acks and fetches them. It prints a line for each uncaught error;
// there must be none, whatever its clients send.

import { Server } from "socket.io";

import { useMoorage } from "../../dist/esm/index.js";

process.on("uncaughtException", (error) => console.log(`uncaught ${error.stack}`));
process.on("unhandledRejection", (error) => console.log(`unhandled ${error}`));

const io = new Server({ connectTimeout: 2_000 });
const moorage = await useMoorage(io, JSON.parse(process.argv[2]));
moorage.on("error", (error) => console.log(`reported ${error.stack}`));

/** How long the app waits for acks, in milliseconds. */
const patience = Number(process.argv[3]);
/** Answers to broadcasts, by the method that asked for them. */
const answers = { io: [], socket: [] };
for (const namespace of [io.of("/"), io.of("/a"), io.of(/^\/dynamic/)])
  namespace.on("connection", (socket) => {
    socket.onAny((_name, ...args) => typeof args.at(-1) === "function" && args.at(-1)("answered"));
    socket.timeout(patience).emit("ask", (_error, ...given) => answers.socket.push(given));
    socket.nsp.to(socket.id).timeout(patience).emit("ask", (_error, given) => answers.io.push(given));
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
