// The SDK under Bun: an app server in that runtime on a real service, with stock clients that run in Node.js.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";

import { Service } from "../../../tests/node/lib/service.mjs";
import { next, poll, within } from "../../../tests/node/lib/waiting.mjs";
import { overEachTransport, world } from "../support/world.mjs";

const file = (path) => fileURLToPath(new URL(path, import.meta.url));
// Pinned among the packages of the service's own tests.
const BUN = file("../../../tests/node/node_modules/.bin/bun");

let service;
before(async () => (service = await Service.start()));
after(() => service.stop());

/** An app server under Bun, linked; `lines` holds what it has printed. */
async function linked(w) {
  const command = [file("../support/bun-app.mjs"), service.connectionString(), w.hub];
  const child = spawn(BUN, command, { stdio: ["ignore", "pipe", "inherit"] });
  const exited = once(child, "exit");
  w.atEnd(() => (child.kill("SIGKILL"), exited));
  const lines = [];
  createInterface(child.stdout).on("line", (line) => lines.push(JSON.parse(line)));
  await poll(() => lines.length || child.exitCode !== null, "an app server under Bun");
  assert.match(String(lines.shift()?.bun), /^1\./);
  return { child, exited, lines };
}

/** A client that the app server knows by `name`. */
const named = (w, name) => w.client({ auth: { name } });

overEachTransport((transport) =>
  test(`arguments, binary ones too, come back in an ack (${transport})`, async (t) => {
    const w = world(t, service, transport);
    await linked(w);
    const ada = await named(w, "ada");
    const sent = [1, "zwölf", { deep: [null, true, Buffer.from([0, 1, 255])] }, Buffer.alloc(70_000, 7)];
    const echo = new Promise((answer) => ada.emit("echo", ...sent, (...values) => answer(values)));
    assert.deepEqual(await within(echo, "the echo"), sent);
  }),
);

test("rooms, an emit to all with acks, and fetchSockets", async (t) => {
  const w = world(t, service);
  await linked(w);
  const [ada, bob, eve] = [await named(w, "ada"), await named(w, "bob"), await named(w, "eve")];
  for (const member of [ada, bob]) await member.emitWithAck("join", "lobby");
  const strays = [];
  for (const other of [ada, eve]) other.on("said", (text) => strays.push(text));
  const said = next(bob, "said");
  ada.emit("say", "lobby", "hello");
  assert.deepEqual(await said, ["hello", Buffer.from([0, 1, 255])]);
  for (const [number, client] of [ada, bob, eve].entries()) client.on("question", (answer) => answer(number));
  // Their answers come after whatever the emit to the room had for them.
  assert.deepEqual((await ada.emitWithAck("ask everybody")).sort(), [0, 1, 2]);
  assert.deepEqual(strays, []);
  const found = await ada.emitWithAck("fetch", "lobby");
  const expected = [[ada, "ada"], [bob, "bob"]].map(([{ id }, name]) => ({ id, name, rooms: [id, "lobby"].sort() }));
  const byName = (one, other) => one.name.localeCompare(other.name);
  assert.deepEqual(found.sort(byName), expected);
});

test("refusals, and disconnects from both sides with their reasons", async (t) => {
  const w = world(t, service);
  const app = await linked(w);
  await assert.rejects(named(w, "mallory"), /no entry/);
  const [ada, bob] = [await named(w, "ada"), await named(w, "bob")];
  const gone = next(bob, "disconnect");
  ada.emit("send away", bob.id);
  assert.equal((await gone)[0], "io server disconnect");
  await poll(() => app.lines.length === 1, "the end of the first client");
  ada.disconnect();
  await poll(() => app.lines.length === 2, "the end of the second client");
  assert.deepEqual(app.lines, [
    { left: "bob", reason: "server namespace disconnect" },
    { left: "ada", reason: "client namespace disconnect" },
  ]);
});

test("io.close() ends the link, the clients and the process", async (t) => {
  const w = world(t, service);
  const app = await linked(w);
  const ada = await named(w, "ada");
  const gone = next(ada, "disconnect");
  app.child.kill("SIGTERM");
  await within(gone, "the end of the client");
  assert.deepEqual(await within(app.exited, "the end of the process"), [0, null]);
});

test("after a restart of the service it links again by itself", async (t) => {
  const w = world(t, service);
  await linked(w);
  assert.equal(await (await named(w, "ada")).emitWithAck("echo", 1), 1);
  await service.kill();
  await service.restart();
  // Refused until the app server is there again, so it tries more than once.
  const bob = w.socket({ auth: { name: "bob" }, reconnection: true, reconnectionDelay: 50 });
  await next(bob, "connect");
  assert.equal(await within(bob.emitWithAck("echo", 2), "the echo"), 2);
});
