// An app server (its command line: the last arguments), and stock clients at the first of several nodes. That node is
// killed by the caller, and the clients reconnect at the others. Prints a line when all are connected, and one when all
// are back. Then it reads how many events were sent by each name, and prints which of them each client has got.
//
// Arguments: URL of the first node, URLs of the others, separated by commas, number of clients, then the app server.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";

const [first, others, count, ...command] = process.argv.slice(2);
const require = createRequire(new URL("../../../sdk-node/package.json", import.meta.url));
const { io: connect } = require("socket.io-client");

const app = spawn(command[0], command.slice(1), { stdio: ["pipe", "pipe", "inherit"] });
const answers = createInterface({ input: app.stdout })[Symbol.asyncIterator]();
const orders = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const answer = async () => JSON.parse((await answers.next()).value);
const tell = async (order) => {
  app.stdin.write(`${order}\n`);
  return await answer();
};
await answer();

const urls = others.split(",");
const clients = Array.from({ length: Number(count) }, (_, place) => {
  const transports = place % 2 ? ["polling"] : ["websocket"];
  const socket = connect(first, { transports, forceNew: true, reconnectionDelay: 300, reconnectionDelayMax: 600 });
  const got = { connects: 0, recovered: false, events: {} };
  socket.on("connect", () => {
    got.connects += 1;
    got.recovered = socket.recovered;
    // Only the first node was named. A balancer would lead to any that is there.
    socket.io.uri = urls[place % urls.length];
  });
  socket.onAny((name, number) => (got.events[name] ??= []).push(number));
  return { socket, got };
});
await Promise.all(clients.map(({ socket }) => once(socket, "connect")));
while ((await tell("served")).served < clients.length) await sleep(10);
await tell("begin");
console.log("connected");
await Promise.all(clients.map(async ({ socket }) => {
  await once(socket, "disconnect");
  await once(socket, "connect");
}));
console.log("back");
const { value } = await orders.next();
await tell("stop");
await tell("emit");
const { number } = await tell("counts");
const sent = { ...JSON.parse(value), news: number, all: number };
const end = Date.now() + 60_000;
const late = ({ got }) => got.recovered && Object.keys(sent).some((name) => got.events[name]?.at(-1) !== sent[name]);
while (clients.some(late) && Date.now() < end) await sleep(20);
const inOrder = (numbers = [], last) => numbers.length === last && numbers.every((each, place) => each === place + 1);
const found = clients.map(({ got }) => ({
  connects: got.connects,
  recovered: got.recovered,
  faults: got.recovered ? Object.keys(sent).filter((name) => !inOrder(got.events[name], sent[name])) : [],
}));
const odd = clients.map(({ got }) => got.events).filter((_, place) => found[place].faults.length);
console.log(JSON.stringify({ found, sent, odd: odd.slice(0, 1) }));
app.kill();
process.exit(0);
