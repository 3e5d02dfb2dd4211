// An app whose handlers throw wherever they can. It keeps running, like apps with an "uncaughtException" handler, and
// prints a line for each exception.

import { Server } from "socket.io";

import { useMoorage } from "../../dist/esm/index.js";

process.on("uncaughtException", ({ message }) => console.log(`uncaught ${message}`));
const say = (what) => {
  throw new Error(what);
};

const io = new Server();
const moorage = await useMoorage(io, JSON.parse(process.argv[2]));
moorage.on("error", ({ message }) => console.log(`reported ${message}`));
io.engine.on("connection", (conn) => conn.once("data", () => say("raw data")));
io.engine.use((_request, _response, next) => next());
io.on("tell", () => say("told"));
io.on("connection", (socket) => {
  socket.on("echo", (value, answer) => answer(value));
  socket.on("throw", () => say("event"));
  socket.on("disconnect", (reason) => say(`disconnect by ${reason}`));
  if (socket.handshake.auth.early) say("connection");
});
console.log("ready");
