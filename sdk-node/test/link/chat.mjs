// A minimal Socket.IO server that shows what a link carries: clients connect, their events are answered, and the
// server emits increasing numbers to each of them.

import { io } from "socket.io-client";

import { within } from "../../../tests/node/lib/waiting.mjs";

/** A link's handler. It handles packets of the default namespace without attachments. */
export class Chat {
  /** Open client numbers, each with the events received, in order. */
  clients = new Map();
  ended = [];

  attach(link) {
    this.link = link;
    link.on("session", () => this.clients.clear());
    return this;
  }

  open(client) {
    this.clients.set(client, []);
    this.link.send({ type: 2, client, pingInterval: 25_000, pingTimeout: 20_000, maxPayload: 1_000_000 });
  }

  packet(client, payload) {
    for (const packet of payload.split("\x1e")) this.#one(client, packet);
  }

  #one(client, packet) {
    if (packet.startsWith("40")) return this.say(client, `40{"sid":"socket-${client}"}`);
    const [, id, data] = /^42(\d*)(\[.*)$/s.exec(packet) ?? [];
    const [, value] = JSON.parse(data);
    this.clients.get(client).push(value);
    if (id) this.say(client, `43${id}[${JSON.stringify(value)}]`);
  }

  say(client, payload) {
    this.link.send({ type: 4, client, payload });
  }

  closed(client, number, reason, cause) {
    this.clients.delete(client);
    this.ended.push({ client, reason, cause });
  }

  left() {}
  moved() {}
  query() {}
  told() {}
  drain() {}

  failed(failure) {
    throw new Error(`${failure.reason}: ${failure.message}`);
  }
}

/** A stock client of `hub` that is connected. */
export async function client(t, url, hub, options = {}) {
  const path = `/clients/socketio/hubs/${hub}`;
  const socket = io(url, { path, transports: ["websocket"], forceNew: true, reconnection: false, ...options });
  t.after(() => socket.disconnect());
  await within(
    new Promise((resolve, reject) => {
      socket.once("connect", resolve);
      socket.once("connect_error", reject);
    }),
    "connect",
  );
  return socket;
}
