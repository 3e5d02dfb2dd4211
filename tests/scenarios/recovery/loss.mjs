// An app server (its command line: the last arguments), and stock clients at the first of two nodes. That node is killed
// while everything is being emitted to; the clients reconnect at the second one. Prints what they got.
//
// Arguments: URL of the first node and its process id, URL of the second node, number of clients, then the app server.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";

const [first, pid, second, count, ...command] = process.argv.slice(2);
const require = createRequire(new URL("../../../sdk-node/package.json", import.meta.url));
const { io: connect } = require("socket.io-client");

const app = spawn(command[0], command.slice(1), { stdio: ["pipe", "pipe", "inherit"] });
const answers = createInterface({ input: app.stdout })[Symbol.asyncIterator]();
const answer = async () => JSON.parse((await answers.next()).value);
const tell = async (order) => {
  app.stdin.write(`${order}\n`);
  return await answer();
};
await answer();

const clients = Array.from({ length: Number(count) }, (_, place) => {
  const transports = place % 2 ? ["polling"] : ["websocket"];
  const socket = connect(first, { transports, forceNew: true, reconnectionDelay: 300, reconnectionDelayMax: 600 });
  const got = { ids: [], news: [], all: [], direct: [], recoveries: 0, asked: 0 };
  socket.on("connect", () => {
    got.ids.push(socket.id);
    if (socket.recovered) got.recoveries += 1;
    // Only the first node was named. A balancer would lead to any that is there.
    socket.io.uri = second;
  });
  // Without an answer, so the service has to ask again.
  socket.on("ask", (_number, _answer) => (got.asked += 1));
  for (const kind of ["news", "all", "direct"]) socket.on(kind, (number) => got[kind].push(number));
  return { socket, got };
});
await Promise.all(clients.map(({ socket }) => once(socket, "connect")));
while ((await tell("served")).served < clients.length) await sleep(10);

await tell("begin");
for (let direct = 0; direct < 20; direct += 1) {
  await tell("direct");
  await sleep(10);
}
const last = await tell("counts");
while (clients.some(({ got }) => got.direct.length < last.direct)) await sleep(10);
if (process.env.ASK) {
  // The last event before the loss has an ack, so no later offset tells that the client has got it.
  await tell("stop");
  const { number } = await tell("counts");
  while (clients.some(({ got }) => got.all.at(-1) !== number)) await sleep(10);
  await tell("ask");
  while (clients.some(({ got }) => !got.asked)) await sleep(10);
}
process.kill(Number(pid), process.env.SIGNAL ?? "SIGKILL");
console.log("killed");
if (process.env.ASK) await tell("begin");
const end = Date.now() + 25_000;
while (clients.some(({ got }) => got.ids.length < 2) && Date.now() < end) await sleep(20);
await sleep(200);
await tell("stop");
await tell("emit");
const { number, direct, recovered, faults } = await tell("counts");
while (clients.some(({ got }) => got.all.at(-1) !== number || got.news.at(-1) !== number) && Date.now() < end) await sleep(20);

const inOrder = (numbers, last) => numbers.length === last && numbers.every((each, place) => each === place + 1);
const found = clients.map(({ got }) => ({
  same: new Set(got.ids).size === 1,
  recoveries: got.recoveries,
  news: inOrder(got.news, number),
  all: inOrder(got.all, number),
  direct: inOrder(got.direct, direct),
  asked: got.asked === (process.env.ASK ? 2 : 0),
}));
const odd = clients.filter((_, place) => !Object.values(found[place]).every((each) => each === true || each === 1)).map(({ got }) => got);
console.log(JSON.stringify({ number, found, recovered, faults, odd: odd.slice(0, 1) }));
app.kill();
process.exit(0);
