// App servers (their command line: the last arguments), and stock clients at the first of two nodes. That node is killed
// while everything is being emitted to; the clients reconnect at the second one. Prints what they got.
//
// APPS in the environment is the number of app servers, 1 if it is missing, and IDS has their server ids. With WAITS the
// clients connect when something has come on stdin.
// Arguments: URL of the first node and its process id, URL of the second node, number of clients, then the app server.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";

const [first, pid, second, count, ...command] = process.argv.slice(2);
const require = createRequire(new URL("../../../sdk-node/package.json", import.meta.url));
const { io: connect } = require("socket.io-client");

const ids = (process.env.IDS ?? "").split(",");

class App {
  #process;
  #answers;

  constructor(id) {
    const env = { ...process.env, SERVER_ID: id };
    this.#process = spawn(command[0], command.slice(1), { stdio: ["pipe", "pipe", "inherit"], env });
    this.#answers = createInterface({ input: this.#process.stdout })[Symbol.asyncIterator]();
  }

  async answer() {
    return JSON.parse((await this.#answers.next()).value);
  }

  async tell(order) {
    this.#process.stdin.write(`${order}\n`);
    return await this.answer();
  }

  kill() {
    this.#process.kill();
  }
}

const apps = Array.from({ length: Number(process.env.APPS ?? 1) }, (_, place) => new App(ids[place] ?? ""));
await Promise.all(apps.map((app) => app.answer()));
if (process.env.WAITS) {
  console.log("ready");
  await once(process.stdin, "data");
  process.stdin.pause();
}
const tell = (order) => Promise.all(apps.map((app) => app.tell(order)));

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
  for (const kind of ["news", "all", "direct"]) socket.on(kind, (number, app) => got[kind].push({ number, app }));
  return { socket, got };
});
await Promise.all(clients.map(({ socket }) => once(socket, "connect")));
const served = async () => (await tell("served")).reduce((sum, { served }) => sum + served, 0);
while ((await served()) < clients.length) await sleep(10);

await tell("begin");
for (let direct = 0; direct < 20; direct += 1) {
  await tell("direct");
  await sleep(10);
}
const [{ direct: sentDirect }] = await tell("counts");
while (clients.some(({ got }) => got.direct.length < sentDirect)) await sleep(10);
// True if a client has the last event of each app server.
const isThere = (got, counts) => counts.every(({ number, app }) => got.some((each) => each.app === app && each.number === number));
if (process.env.ASK) {
  // The last event before the loss has an ack, so no later offset tells that the client has got it.
  await tell("stop");
  const counts = await tell("counts");
  while (clients.some(({ got }) => !isThere(got.all, counts))) await sleep(10);
  await tell("ask");
  while (clients.some(({ got }) => !got.asked)) await sleep(10);
}
process.kill(Number(pid), process.env.SIGNAL ?? "SIGKILL");
console.log("killed");
if (process.env.ASK) await tell("begin");
const end = Date.now() + 90_000;
while (clients.some(({ got }) => got.ids.length < 2) && Date.now() < end) await sleep(20);
await sleep(200);
await tell("stop");
await tell("emit");
const counts = await tell("counts");
while (clients.some(({ got }) => !isThere(got.all, counts) || !isThere(got.news, counts)) && Date.now() < end) await sleep(20);

const inOrder = (got, last, app) => {
  const numbers = got.filter((each) => each.app === app).map(({ number }) => number);
  return numbers.length === last && numbers.every((each, place) => each === place + 1);
};
const whole = (got) => counts.every(({ number, app }) => inOrder(got, number, app));
const found = clients.map(({ got }) => ({
  same: new Set(got.ids).size === 1,
  recoveries: got.recoveries,
  news: whole(got.news),
  all: whole(got.all),
  // One app server has the client.
  direct: inOrder(got.direct, sentDirect, got.direct[0]?.app),
  asked: got.asked === (process.env.ASK ? 2 : 0),
}));
// What is missing, or comes a second time or too early, by kind and app server.
const holes = (got) => ["news", "all"].flatMap((kind) => counts.flatMap(({ app }) => {
  const numbers = got[kind].filter((each) => each.app === app).map(({ number }) => number);
  const odd = numbers.flatMap((each, place) => (each === (numbers[place - 1] ?? 0) + 1 ? [] : [[numbers[place - 1], each]]));
  return odd.length ? [{ kind, app, odd: odd.slice(0, 5), last: numbers.at(-1) }] : [];
}));
const odd = clients.filter((_, place) => !Object.values(found[place]).every((each) => each === true || each === 1)).map(({ got }) => ({ ids: got.ids, holes: holes(got) }));
const [recovered, faults] = [counts.flatMap(({ recovered }) => recovered), counts.flatMap(({ faults }) => faults)];
console.log(JSON.stringify({ counts, found, recovered, faults, odd: odd.slice(0, 1) }));
for (const app of apps) app.kill();
process.exit(0);
