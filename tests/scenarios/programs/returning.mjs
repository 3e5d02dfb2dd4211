// Clients in a bad network, behind a proxy that gives each connection to the next node. An app server with
// recovery emits numbered events. All of them are in this process, which tells what arrived.

import { createRequire } from "node:module";
import { createServer } from "node:http";
import net from "node:net";

import { listen, notice } from "../../../conformance/lines.mjs";

const stock = createRequire(new URL("../../node/package.json", import.meta.url));
const sdk = createRequire(new URL("../../../sdk-node/package.json", import.meta.url));
const { io: connect } = stock("socket.io-client");
const { Server } = sdk("socket.io");
const { useMoorage } = await import(new URL("../../../sdk-node/dist/esm/index.js", import.meta.url));

let targets = [];
let turn = 0;
const pairs = new Set();
const proxy = net.createServer((client) => {
  if (!targets.length) return void client.destroy();
  const port = targets[turn++ % targets.length];
  const node = net.connect(port, "127.0.0.1");
  const pair = { client, node, port };
  pairs.add(pair);
  for (const [one, other] of [[client, node], [node, client]]) {
    one.pipe(other);
    one.on("error", () => other.destroy());
    one.on("close", () => (pairs.delete(pair), other.destroy()));
  }
});

let io;
let emitting;
let emitted = 0;
let connections = 0;
let joined = 0;
const clients = [];

function client(number, options) {
  const socket = connect(`http://127.0.0.1:${proxy.address().port}`, {
    path: "/clients/socketio/hubs/app", forceNew: true, timeout: 10_000, ...options,
  });
  const kept = { socket, number, got: [], fresh: 0, resumed: 0 };
  socket.on("connect", () => (socket.recovered ? (kept.resumed += 1) : (kept.fresh += 1)));
  socket.on("news", (n) => kept.got.push(n));
  clients.push(kept);
}

listen({
  start: async ({ options, duration, quiet }) => {
    io = new Server(createServer(), {
      connectionStateRecovery: { maxDisconnectionDuration: duration }, pingInterval: 2000, pingTimeout: 2000,
    });
    io.on("connection", async (socket) => {
      connections += 1;
      if (socket.recovered) return;
      await socket.join(socket.handshake.auth.room ?? "room");
      joined += 1;
    });
    const moorage = await useMoorage(io, { ...options, quietRecovery: quiet });
    moorage.on("error", (error) => notice("problem", { message: error.message }));
    await new Promise((resolve) => proxy.listen(0, "127.0.0.1", resolve));
  },
  route: ({ ports }) => void (targets = ports),
  connect: ({ count, options }) => {
    for (let each = 0; each < count; each += 1) client(each, options);
  },
  emit: ({ every }) => {
    emitting = setInterval(() => {
      emitted += 1;
      if (emitted % 2) io.to("room").emit("news", emitted);
      else io.emit("news", emitted);
    }, every);
  },
  hush: () => (clearInterval(emitting), emitted),
  cut: ({ part }) => {
    let count = 0;
    for (const { client, node } of [...pairs]) {
      if (Math.random() < part) (client.destroy(), node.destroy(), (count += 1));
    }
    return count;
  },
  state: () => ({
    connected: clients.filter(({ socket }) => socket.connected).length,
    behind: clients.filter(({ got }) => got[got.length - 1] !== emitted).length,
    received: clients.reduce((sum, { got }) => sum + got.length, 0),
    emitted,
    connections,
    // New sockets whose room every node knows.
    joined,
  }),
  result: () =>
    clients.map(({ got, fresh, resumed }) => ({
      fresh,
      resumed,
      wrong: got.filter((n, at) => at && n !== got[at - 1] + 1).length,
      first: got[0],
      last: got[got.length - 1],
    })),
  stop: () => {
    for (const { socket } of clients) socket.disconnect();
    setTimeout(() => process.exit(0), 200);
  },
});
