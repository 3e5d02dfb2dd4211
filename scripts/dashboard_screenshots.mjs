// Takes the screenshots of docs/howto/use-the-dashboard.md: a service with a small chat, whose clients come and go.
//
//   make screenshots              # SECONDS=240 by default: how long the chat runs before, so that there are curves
//
// Needs `make setup`.

import { createRequire } from "node:module";
import { mkdirSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

import { Browser, KEYS, visit } from "../tests/node/lib/browser.mjs";
import { Service } from "../tests/node/lib/service.mjs";
import { pause, poll } from "../tests/node/lib/waiting.mjs";
import { smallPng } from "./small_png.mjs";

const require = createRequire(new URL("../tests/node/package.json", import.meta.url));
const { io: connect } = require("socket.io-client");
const { Server } = require("socket.io");
const { useMoorage } = await import("../sdk-node/dist/esm/index.js");

const SECONDS = Number(process.env.SECONDS ?? 240);
const FOLDER = new URL("../docs/howto/dashboard/", import.meta.url);
mkdirSync(FOLDER, { recursive: true });
const NAMES = [
  "ada",
  "grace",
  "linus",
  "margaret",
  "ken",
  "barbara",
  "dennis",
  "edsger",
  "radia",
  "tim",
  "frances",
  "donald",
];
const ROOMS = ["lobby", "support", "orders/de", "orders/fr", "match-17", "match-18"];

const service = await Service.start({ set: [...KEYS, "cluster.node_name=node-1", "admin.trace_payloads=true"] });

async function appServer() {
  const io = new Server();
  await useMoorage(io, { hub: "chat", connectionString: service.connectionString() });
  io.on("connection", (socket) => {
    socket.join(ROOMS.filter((_room, index) => index === 0 || Math.random() < 0.5 / index));
    socket.on("message", (text, answer) => {
      io.to("lobby").emit("message", text);
      answer?.("sent");
    });
    socket.on("leave", () => socket.disconnect(true));
    socket.on("typing", () => socket.broadcast.emit("typing"));
  });
  return io;
}

let next = 0;
const clients = new Set();
function come(token) {
  const number = next++;
  const user = `${NAMES[number % NAMES.length]}${number >= NAMES.length ? `-${1000 + number}` : ""}`;
  const socket = connect(service.url, {
    path: "/clients/socketio/hubs/chat",
    forceNew: true,
    reconnection: false,
    transports: number % 7 ? ["websocket"] : ["polling"],
    query: { access_token: token ?? service.token("chat", { sub: user }) },
    extraHeaders: { "user-agent": "Mozilla/5.0 (sample)" },
  });
  socket.user = user;
  socket.on("connect", () => clients.add(socket));
  socket.on("disconnect", () => clients.delete(socket));
}

function any(list) {
  return list[Math.floor(Math.random() * list.length)];
}

/** How clients go: by themselves, with a lost connection, or because their app server wants it. */
const GOODBYES = [
  (socket) => socket.disconnect(),
  (socket) => socket.disconnect(),
  (socket) => (socket.io.engine.transport.ws ?? socket.io.engine).close(),
  (socket) => socket.io.engine.transport.ws?.terminate(),
  (socket) => socket.emit("leave"),
];

/** A few times a second somebody says something, comes or goes. Those who came first stay. */
function live(tick) {
  const wanted = 44 + 16 * Math.sin(tick / 90) + 5 * Math.sin(tick / 23);
  const guest = any([...clients].filter((socket) => socket.user.includes("-")));
  if (clients.size < wanted) come();
  else if (guest && Math.random() < 0.3) any(GOODBYES)(guest);
  if (tick % 97 === 0) come("a-token-of-another-service");
  for (let said = 0; said < 2 + 2 * Math.sin(tick / 40); said++) {
    any([...clients])?.emit(Math.random() < 0.7 ? "message" : "typing", { text: "Hello", number: tick }, () => {});
  }
}

const apps = [await appServer(), await appServer()];
for (let number = 0; number < 40; number++) come();
let tick = 0;
const living = setInterval(() => live(++tick), 250);
await pause(SECONDS * 1000);

const browser = await Browser.start();
const ends = [];
const t = { after: (end) => ends.push(end) };

async function shot(page, name) {
  const file = fileURLToPath(new URL(`${name}.png`, FOLDER));
  writeFileSync(file, smallPng(await page.screenshot()));
}

for (const [name, options] of [
  ["overview", {}],
  ["overview-dark", { colorScheme: "dark" }],
]) {
  const page = await browser.signedIn(t, service, "#/", { viewport: { width: 1200, height: 760 }, ...options });
  await page.locator(".u-over").last().waitFor();
  await page.waitForTimeout(500);
  await shot(page, name);
}
const page = await browser.signedIn(t, service, "#/connections?hub=chat&room=lobby", {
  viewport: { width: 1200, height: 620 },
});
await page.locator("tbody a.primary").first().waitFor();
await shot(page, "connections");
await visit(page, "#/connections?user=ada");
await page.getByRole("link", { name: "ada", exact: true }).click();
await poll(async () => (await page.locator(".trace tbody tr").count()) > 12, "packets");
await page.setViewportSize({ width: 1200, height: 860 });
await shot(page, "connection");
await visit(page, "#/disconnects");
await page.setViewportSize({ width: 1200, height: 620 });
await page.locator("tbody tr").first().waitFor();
await shot(page, "disconnects");
const phone = await browser.signedIn(t, service, "#/", { viewport: { width: 360, height: 720 } });
await phone.locator(".u-over").last().waitFor();
await phone.waitForTimeout(500);
await shot(phone, "phone");

for (const end of ends) await end();
clearInterval(living);
await browser.stop();
for (const socket of clients) socket.disconnect();
for (const io of apps) await io.close();
await service.stop();
process.exit(0);
