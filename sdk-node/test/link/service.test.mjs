// The link with a real service and stock clients, through a proxy that cuts connections.

import { deepStrictEqual, ok, rejects, strictEqual } from "node:assert";
import { after, before, test } from "node:test";

import { Fleet } from "../../dist/esm/link/fleet.js";
import { Proxy } from "../../../tests/node/lib/proxy.mjs";
import { Service } from "../../../tests/node/lib/service.mjs";
import { next, pause, poll, within } from "../../../tests/node/lib/waiting.mjs";
import { Chat, client } from "./chat.mjs";

let service;
let hubs = 0;
const fresh = () => `link_${++hubs}`;

before(async () => {
  service = await Service.start({ set: ["links.grace=2s", "links.window=256KiB"] });
});
after(() => service?.stop());

async function chat(t, hub, { through, ...options } = {}) {
  const handler = new Chat();
  const endpoint = through?.url ?? service.url;
  const link = await Fleet.connect({ endpoint, key: service.key, hub, handlerOf: () => handler, ...options });
  t.after(() => link.close({ drain: 0 }));
  return handler.attach(link);
}

/** The proxy keeps the service's host name, because it is the audience of tokens. */
async function proxy(t, target = service) {
  const made = await Proxy.start(target.port);
  t.after(() => made.close());
  return made;
}

test("resume under cuts at random times: nothing lost, nothing twice, nothing out of order", async (t) => {
  const hub = fresh();
  const through = await proxy(t);
  const server = await chat(t, hub, { through });
  const clients = await Promise.all(Array.from({ length: 5 }, () => client(t, service.url, hub)));
  const heard = clients.map((socket) => {
    const numbers = [];
    socket.on("count", (n) => numbers.push(n));
    return numbers;
  });
  const restored = [];
  server.link.on("restored", (resumed) => restored.push(resumed));
  const acked = clients.map(() => []);
  let rounds = 0;
  let talking = true;
  const talk = (async () => {
    while (talking) {
      for (const [i, socket] of clients.entries()) {
        const value = rounds;
        socket.emit("say", value, (answer) => acked[i].push(answer));
      }
      for (const number of server.clients.keys()) server.say(number, `42["count",${rounds}]`);
      rounds += 1;
      await pause(1);
    }
  })();
  for (let cut = 0; cut < 8; cut += 1) {
    await pause(20 + Math.random() * 100);
    const again = next(server.link, "restored");
    await through.cut();
    await through.restore();
    await again;
  }
  talking = false;
  await talk;
  const all = [...Array(rounds).keys()];
  await poll(() => acked.every((one) => one.length >= rounds) && heard.every((one) => one.length >= rounds), "the rest");
  for (const list of [...acked, ...heard, ...server.clients.values()]) deepStrictEqual(list, all);
  deepStrictEqual(restored, Array(8).fill(true));
  deepStrictEqual(server.ended, []);
});

test("resume after the network lost data in both directions", async (t) => {
  const hub = fresh();
  const through = await proxy(t);
  const server = await chat(t, hub, { through });
  const socket = await client(t, service.url, hub);
  const heard = [];
  socket.on("count", (n) => heard.push(n));
  through.swallow({ up: true, down: true });
  const [number] = server.clients.keys();
  server.say(number, '42["count",1]');
  const answer = new Promise((resolve) => socket.emit("say", "swallowed", resolve));
  await pause(50);
  await through.cut();
  server.say(number, '42["count",2]');
  await through.restore();
  strictEqual(await within(answer, "the ack"), "swallowed");
  await poll(() => heard.length === 2, "both");
  deepStrictEqual(heard, [1, 2]);
});

test("down for longer than the grace time: a new session, the clients are closed", async (t) => {
  const hub = fresh();
  const through = await proxy(t);
  const server = await chat(t, hub, { through });
  const socket = await client(t, service.url, hub);
  const gone = next(socket, "disconnect");
  const asked = server.link.request((ref) => ({ type: 43, ref }));
  await asked;
  const old = server.link.sessionId;
  await through.cut();
  const unanswered = rejects(server.link.request((ref) => ({ type: 43, ref })), { reason: "session-lost" });
  await gone;
  const restored = next(server.link, "restored");
  await through.restore();
  deepStrictEqual(await restored, [false]);
  await unanswered;
  ok(server.link.sessionId !== old && server.clients.size === 0);
  const second = await client(t, service.url, hub);
  strictEqual(await second.emitWithAck("say", "hello"), "hello");
});

test("the service restarts: the link gets a new session by itself", async (t) => {
  const own = await Service.start({ set: ["links.grace=2s"] });
  t.after(() => own.stop());
  const handler = new Chat();
  const link = await Fleet.connect({ endpoint: own.url, key: own.key, hub: "app", handlerOf: () => handler });
  t.after(() => link.close({ drain: 0 }));
  handler.attach(link);
  await client(t, own.url, "app");
  const lost = next(link, "lost");
  await own.kill();
  await lost;
  const restored = next(link, "restored");
  await own.restart();
  deepStrictEqual(await restored, [false]);
  const again = await client(t, own.url, "app");
  strictEqual(await again.emitWithAck("say", 1), 1);
});

test("close: the clients are closed at once, not after the grace time", async (t) => {
  const hub = fresh();
  const server = await chat(t, hub);
  const socket = await client(t, service.url, hub);
  const gone = next(socket, "disconnect");
  const { grace } = server.link.service;
  const start = performance.now();
  await server.link.close();
  await gone;
  ok(performance.now() - start < grace);
});

test("a slow app server: its clients' events wait, and all arrive in order", async (t) => {
  const hub = fresh();
  const through = await proxy(t);
  const server = await chat(t, hub, { through, window: 64 * 1024 });
  const socket = await client(t, service.url, hub);
  const text = "x".repeat(10_000);
  through.hold();
  const answers = Array.from({ length: 300 }, (_, i) => socket.emitWithAck("say", `${i} ${text}`));
  await pause(100);
  through.release();
  const back = await within(Promise.all(answers), "all answers");
  deepStrictEqual(back.map((answer) => Number(answer.split(" ")[0])), [...Array(300).keys()]);
  const [said] = server.clients.values();
  strictEqual(said.length, 300);
});

test("more than the service's window: sent in order as credit arrives", async (t) => {
  const hub = fresh();
  const server = await chat(t, hub);
  const socket = await client(t, service.url, hub);
  const [number] = server.clients.keys();
  const text = "x".repeat(50_000);
  const { window } = server.link.service;
  const count = Math.ceil((2.5 * window) / text.length);
  const heard = [];
  socket.on("count", (n) => heard.push(n));
  for (let i = 0; i < count; i += 1) server.say(number, `42["count",${i},"${text}"]`);
  ok(server.link.queuedBytes > window);
  await poll(() => heard.length === count || server.ended.length, "all of it");
  deepStrictEqual(server.ended, []);
  deepStrictEqual(heard, [...Array(count).keys()]);
  strictEqual(server.link.queuedBytes, 0);
});

const connect = (options) => Fleet.connect({ endpoint: service.url, key: service.key, hub: fresh(), handlerOf: () => new Chat(), ...options });

for (const [what, options, error] of [
  ["a wrong key", { key: "wrong" }, { reason: "token-signature", number: 3003, message: /access key is wrong/ }],
  ["a wrong hub", { hub: "9lives" }, { reason: "unknown-hub", number: 2107, message: /"9lives"/ }],
])
  test(`${what}: refused at once, once and for all`, async () => {
    const start = performance.now();
    await rejects(connect(options), { name: "MoorageError", retry: false, ...error });
    ok(performance.now() - start < 10_000);
  });

test("an endpoint with an unknown path", async () => {
  await rejects(connect({ endpoint: `${service.url}/elsewhere` }), { reason: "unknown-path", message: /path/ });
});

test("a clock that is off", async (t) => {
  const { now } = Date;
  t.after(() => (Date.now = now));
  Date.now = () => now() - 3_600_000;
  await rejects(connect({}), { reason: "token-expired", retry: false, message: /clock/ });
  Date.now = () => now() + 3_600_000;
  await rejects(connect({}), { reason: "token-not-yet", retry: false, message: /clock/ });
});

test("an id that is in use", async (t) => {
  const hub = fresh();
  await chat(t, hub, { serverId: "same" });
  await rejects(connect({ hub, serverId: "same" }), { reason: "link-server-taken", message: /"same"/ });
});
