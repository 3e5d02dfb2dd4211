// Clients that the app disconnects during their transport upgrade.

import { io as connect } from "socket.io-client";

import { pause, within } from "./waiting.mjs";

/** The ways in which an app disconnects a client. */
export const WAYS = {
  "socket.disconnect(true)": (_io, socket) => socket.disconnect(true),
  "socket.disconnect()": (_io, socket) => socket.disconnect(),
  "conn.close()": (_io, socket) => socket.conn.close(),
  "disconnectSockets(true)": (io, socket) => io.in(socket.id).disconnectSockets(true),
};

/** In milliseconds. An upgrade takes a few; these delays hit its beginning, its middle and its end. */
const DELAYS = [0, 1, 2, 3, 4, 6, 8, 12, 20];

/** The events of clients with the default transports that the app disconnects with `way`, a moment after they
 * connected: the number of clients for each outcome. Events are `connect`, `hello`, and the reason of the disconnect.
 */
export async function earlyEnds(io, url, options, way, { each = 4 } = {}) {
  const end = WAYS[way];
  io.removeAllListeners("connection");
  io.on("connection", async (socket) => {
    socket.emit("hello");
    const delay = Number(socket.handshake.auth.delay);
    if (delay) await pause(delay);
    end(io, socket);
  });
  const outcomes = {};
  for (const delay of DELAYS) {
    const clients = Array.from({ length: each }, () => one(url, { ...options, auth: { delay } }));
    for (const outcome of await Promise.all(clients)) outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
  }
  return outcomes;
}

/** The events of one client. */
async function one(url, options) {
  const socket = connect(url, { ...options, reconnection: false, forceNew: true });
  const heard = [];
  socket.on("connect", () => heard.push("connect"));
  socket.on("hello", () => heard.push("hello"));
  const ended = new Promise((resolve) => {
    socket.on("disconnect", resolve);
    // The connection ended before the client got its CONNECT answer.
    socket.io.on("close", () => setTimeout(resolve, 50, "nothing"));
  });
  heard.push(await within(ended, "the end of a client"));
  socket.io.engine?.close();
  return heard.join(", ");
}

/** The outcome with native Socket.IO. */
export const NATIVE = {
  "socket.disconnect(true)": "connect, hello, io server disconnect",
  "socket.disconnect()": "connect, hello, io server disconnect",
  "conn.close()": "connect, hello, transport close",
  "disconnectSockets(true)": "connect, hello, io server disconnect",
};
