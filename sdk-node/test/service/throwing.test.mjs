// Exceptions in handlers close neither the link nor other connections.

import assert from "node:assert/strict";
import { fork } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";

import { Service } from "../../../tests/node/lib/service.mjs";
import { next, poll } from "../../../tests/node/lib/waiting.mjs";
import { world } from "../support/world.mjs";

const APP = fileURLToPath(new URL("../support/throwing-app.mjs", import.meta.url));

let service;
before(async () => (service = await Service.start()));
after(() => service.stop());

/** The app in its own process, and a function that waits for a line of its output. */
async function throwingApp(w, own = service) {
  const options = { hub: w.hub, connectionString: own.connectionString() };
  const process = fork(APP, [JSON.stringify(options)], { stdio: ["ignore", "pipe", "inherit", "ipc"] });
  w.atEnd(async () => {
    process.kill("SIGKILL");
    await once(process, "exit");
  });
  const lines = [];
  createInterface(process.stdout).on("line", (line) => lines.push(line));
  const heard = (line) => poll(() => lines.includes(line), `the line "${line}" among ${lines}`);
  await heard("ready");
  return heard;
}

test("each exception is uncaught, and each client goes on", async (t) => {
  const w = world(t, service);
  const heard = await throwingApp(w);
  const bystander = await w.client();
  await heard("uncaught raw data");
  const client = await w.client({ auth: { early: true } });
  await heard("uncaught connection");
  client.emit("throw");
  await heard("uncaught event");
  client.disconnect();
  await heard("uncaught disconnect by client namespace disconnect");
  const other = await w.client();
  const io = await w.app();
  io.serverSideEmit("tell");
  await heard("uncaught told");
  io.in(other.id).disconnectSockets();
  await heard("uncaught disconnect by server namespace disconnect");
  other.io.engine.close();
  assert.equal(await bystander.emitWithAck("echo", 1), 1);
});

test("a lost session ends all of its clients, and a new one starts", async (t) => {
  const own = await Service.start();
  t.after(() => own.kill());
  const w = world(t, own);
  const heard = await throwingApp(w, own);
  const clients = await w.clients(3, { reconnection: true, reconnectionDelay: 10 });
  await own.kill();
  await own.restart();
  await heard("uncaught disconnect by transport close");
  await Promise.all(clients.map((client) => client.connected || next(client, "connect")));
  assert.equal(await clients[0].emitWithAck("echo", 2), 2);
});
