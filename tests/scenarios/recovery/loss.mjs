// One app server, and stock clients at the first of two nodes. The first node is killed while everything is being
// emitted to; the clients reconnect at the second one. Prints what they got.
//
// Arguments: connection string, URL of the first node and its process id, URL of the second node, number of clients,
// mode ("quiet" or "").

import { once } from "node:events";
import { createRequire } from "node:module";
import { setTimeout as sleep } from "node:timers/promises";

const [connectionString, first, pid, second, count, mode] = process.argv.slice(2);
const require = createRequire(new URL("../../../sdk-node/package.json", import.meta.url));
const { Server } = require("socket.io");
const { io: connect } = require("socket.io-client");
const { useMoorage } = await import(new URL("../../../sdk-node/dist/esm/index.js", import.meta.url));

const faults = [];
const io = new Server({ connectionStateRecovery: { maxDisconnectionDuration: 60_000 } });
const link = await useMoorage(io, { hub: "app", connectionString, quietRecovery: mode === "quiet" });
link.on("error", (error) => faults.push(String(error)));

const disconnects = [];
const recovered = [];
const served = new Map();
io.on("connection", (socket) => {
  if (socket.recovered) recovered.push({ id: socket.id, rooms: [...socket.rooms].sort(), name: socket.data.name });
  else {
    socket.data.name = `data of ${socket.id}`;
    socket.join(["news", `room of ${socket.id}`]);
  }
  served.set(socket.id, socket);
  socket.on("disconnect", (reason) => {
    disconnects.push(reason);
    served.delete(socket.id);
  });
});

const clients = Array.from({ length: Number(count) }, (_, place) => {
  const socket = connect(first, { transports: place % 2 ? ["polling"] : ["websocket"], forceNew: true, reconnectionDelay: 300, reconnectionDelayMax: 600 });
  const got = { ids: [], news: [], all: [], direct: [], recoveries: 0 };
  socket.on("connect", () => {
    got.ids.push(socket.id);
    if (socket.recovered) got.recoveries += 1;
    // Only the first node was named. A balancer would lead to any that is there.
    socket.io.uri = second;
  });
  for (const kind of ["news", "all", "direct"]) socket.on(kind, (number) => got[kind].push(number));
  return { socket, got };
});
await Promise.all(clients.map(({ socket }) => once(socket, "connect")));
while (served.size < clients.length) await sleep(10);

let number = 0;
let direct = 0;
const emit = () => {
  number += 1;
  io.to("news").emit("news", number);
  io.emit("all", number);
  if (served.size === clients.length && !killed) {
    direct += 1;
    for (const socket of served.values()) socket.emit("direct", direct);
  }
};
let killed = false;
const emitting = setInterval(emit, 5);
await sleep(300);
emit();
process.kill(Number(pid), "SIGKILL");
killed = true;
// What these are sent reaches only the killed node, and no client yet.
emit();
const end = Date.now() + 20_000;
while (clients.some(({ got }) => got.ids.length < 2) && Date.now() < end) await sleep(20);
await sleep(300);
clearInterval(emitting);
io.emit("all", (number += 1));
io.to("news").emit("news", number);
while (clients.some(({ got }) => got.all.at(-1) !== number || got.news.at(-1) !== number) && Date.now() < end) await sleep(20);

const inOrder = (numbers, last) => numbers.length === last && numbers.every((each, place) => each === place + 1);
const found = clients.map(({ got }) => ({
  same: new Set(got.ids).size === 1,
  recoveries: got.recoveries,
  news: inOrder(got.news, number),
  all: inOrder(got.all, number),
  direct: inOrder(got.direct, direct),
}));
const odd = clients.filter((_, place) => !Object.values(found[place]).every((each) => each === true || each === 1)).map(({ got }) => got);
console.log(JSON.stringify({ number, direct, found, recovered, disconnects, faults, odd: odd.slice(0, 1) }));
process.exit(0);
