// `io.close()`, compared with a native server.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:http";
import { after, before, test } from "node:test";

import { Server } from "socket.io";

import { useMoorage } from "../../dist/esm/index.js";
import { Service } from "../../../tests/node/lib/service.mjs";
import { next, within } from "../../../tests/node/lib/waiting.mjs";
import { world } from "../support/world.mjs";

let service;
before(async () => (service = await Service.start()));
after(() => service.stop());

async function listening(port = 0) {
  const http = createServer();
  http.listen(port, "127.0.0.1");
  await once(http, "listening");
  return http;
}

/** A server with an HTTP server of its own and a client, natively and behind Moorage. */
const SERVERS = {
  natively: async (w) => {
    const http = await listening();
    const io = new Server(http);
    w.atEnd(() => io.close());
    const arrived = next(io, "connection");
    w.socket({ url: `http://127.0.0.1:${http.address().port}`, path: "/socket.io" });
    return { io, http, socket: (await arrived)[0] };
  },
  "behind a service": async (w) => {
    const http = await listening();
    const io = await w.app({ io: new Server(http) });
    const { socket } = await w.pair(io);
    return { io, http, socket };
  },
};

/** Calls everything that must have no effect once the server is closed; returns the results. */
async function everything(io, socket) {
  const chat = io.of("/made-before");
  socket.emit("x");
  socket.volatile.emit("x");
  socket.broadcast.emit("x");
  socket.emit("x", () => {});
  socket.disconnect(true);
  socket.conn.close();
  await socket.join("room");
  await socket.leave("room");
  for (const of of [io, chat]) {
    of.emit("x", Buffer.from("bytes"));
    of.volatile.emit("x");
    of.local.emit("x");
    of.to("room").except("other").emit("x");
    of.in("room").socketsJoin("b");
    of.socketsLeave("b");
    of.in("room").disconnectSockets(true);
  }
  const asked = await Promise.all([io.timeout(50).emitWithAck("x"), io.fetchSockets(), chat.fetchSockets(), io.of("/").adapter.serverCount()]);
  const ids = await io.of("/").adapter.sockets(new Set());
  return { asked, ids: [...ids], rooms: [...socket.rooms], connected: socket.connected, clients: io.engine.clientsCount };
}

for (const [how, start] of Object.entries(SERVERS)) {
  test(`[repair 16] ${how}, after io.close() emits, joins and disconnects do nothing`, async (t) => {
    const w = world(t, service);
    const { io, socket } = await start(w);
    io.of("/made-before");
    const thrown = [];
    process.setUncaughtExceptionCaptureCallback((error) => thrown.push(error));
    t.after(() => process.setUncaughtExceptionCaptureCallback(null));
    const timer = setInterval(() => io.emit("tick"), 1);
    t.after(() => clearInterval(timer));
    const reason = next(socket, "disconnect");
    await io.close();
    assert.equal((await reason)[0], "server shutting down");
    assert.deepEqual(await everything(io, socket), { asked: [[], [], [], 1], ids: [], rooms: [], connected: false, clients: 0 });
    await io.close();
    await new Promise(setImmediate);
    assert.deepEqual(thrown, []);
  });

  test(`[repair 16] ${how}, the HTTP port is free in the turn of io.close()`, async (t) => {
    const w = world(t, service);
    for (let round = 0; round < 10; round += 1) {
      const { io, http } = await start(w);
      const { port } = http.address();
      let called = 0;
      const closed = io.close(() => (called += 1));
      await new Promise(setImmediate);
      const again = await within(listening(port), "the port");
      again.close();
      await within(closed, "the end of io.close()");
      assert.equal(called, 1);
    }
  });
}

test("[repair 16] io.close() ends when the service has given the clients to other app servers", async (t) => {
  const w = world(t, service);
  const { one, two, a } = await w.cluster();
  a.client.io.reconnection(true);
  const arrived = next(two, "connection");
  await one.close();
  assert.equal(one.moorage.connected, false);
  await arrived;
});

test("[repair 16] serverSideEmit after io.close() gets no answers, and new clients go to another app server", async (t) => {
  const w = world(t, service);
  const [one, two] = [await w.app(), await w.app()];
  one.on("connection", () => assert.fail("a client of a closed server"));
  const closed = one.close();
  const clients = await w.clients(4, { reconnection: true, reconnectionDelay: 10 });
  await closed;
  assert.equal(two.engine.clientsCount, clients.length);
  one.serverSideEmit("x");
  assert.deepEqual(await one.serverSideEmitWithAck("x"), []);
});

test("[repair 16] io.close() before the link is up: the app gets no clients, and the process can end", async (t) => {
  const w = world(t, service);
  const where = { hub: w.hub, connectionString: service.connectionString(), log: () => {} };
  const io = new Server();
  const linking = useMoorage(io, where);
  await io.close();
  const moorage = await within(linking, "the link");
  assert.equal(moorage.connected, false);
  io.emit("x");
  const answer = await fetch(`${service.url}/clients/socketio/hubs/${w.hub}/?EIO=4&transport=polling`);
  assert.equal((await answer.json()).reason, "no-app-server");

  const gone = await listening();
  const { port } = gone.address();
  gone.close();
  const app = `
    import { Server } from "socket.io";
    import { useMoorage } from "${new URL("../../dist/esm/index.js", import.meta.url)}";
    const io = new Server();
    useMoorage(io, { hub: "h", connectionString: "Endpoint=http://127.0.0.1:${port};AccessKey=k;", retryFirst: true });
    setTimeout(() => io.close(), 50);`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", app], { cwd: import.meta.dirname, stdio: "ignore" });
  w.atEnd(() => child.kill());
  assert.deepEqual(await next(child, "exit"), [0, null]);
});
