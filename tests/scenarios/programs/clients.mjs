// The clients of a scenario: stock `socket.io-client`. Each numbers what it sends while it is connected, and
// keeps what it receives. A client that loses its node tries the next URL, as behind a load balancer.

import { createRequire } from "node:module";

import { listen } from "../../../conformance/lines.mjs";

const require = createRequire(new URL("../../node/package.json", import.meta.url));
const { io } = require("socket.io-client");

const clients = new Map();

class Client {
  constructor({ name, urls, at, path, transports, every }) {
    this.name = name;
    this.urls = urls;
    this.at = at;
    this.sent = 0;
    this.acked = [];
    this.news = {};
    this.ends = [];
    this.connects = 0;
    this.socket = io(urls[at], {
      path, transports, auth: { name }, forceNew: true, timeout: 10_000,
      reconnectionDelay: 50, reconnectionDelayMax: 400,
    });
    this.socket.on("connect", () => (this.connects += 1));
    this.socket.on("disconnect", (reason) => this.ends.push(reason));
    this.socket.on("connect_error", () => {
      // A refusal by an app server ends the attempts of the stock client.
      if (!this.socket.active) setTimeout(() => this.socket.connect(), 100);
    });
    this.socket.on("news", (label, number) => (this.news[label] ??= []).push(number));
    this.socket.io.on("reconnect_attempt", () => {
      this.at = (this.at + 1) % this.urls.length;
      this.socket.io.uri = this.urls[this.at];
    });
    // The service may end a client; the stock one stays away then, and an app calls connect() by itself.
    this.socket.on("disconnect", (reason) => {
      if (reason === "io server disconnect") this.socket.connect();
    });
    this.timer = setInterval(() => this.send(), every);
  }

  send() {
    if (!this.socket.connected) return;
    this.sent += 1;
    this.socket.emit("count", this.sent, (number) => this.acked.push(number));
  }
}

listen({
  open: ({ each }) => {
    for (const one of each) clients.set(one.name, new Client(one));
  },
  state: () =>
    [...clients.values()].map((one) => ({
      name: one.name,
      connected: one.socket.connected,
      at: one.at,
      sent: one.sent,
      acked: one.acked.length,
      ends: one.ends.length,
      last: Object.fromEntries(Object.entries(one.news).map(([label, all]) => [label, all.at(-1)])),
    })),
  hush: () => {
    for (const one of clients.values()) clearInterval(one.timer);
  },
  report: () =>
    [...clients.values()].map(({ name, sent, acked, news, ends, connects }) => ({
      name, sent, acked, news, ends, connects,
    })),
  shut: () => {
    for (const one of clients.values()) one.socket.disconnect();
  },
});
