// One scenario for every app of examples/migrations, before and after: the stock client must not see a difference.
//
//   node migration_client.mjs URL_OF_ADA URL_OF_GRACE PATH
//
// The two addresses are two processes of the app where it can have several. Ends with status 0 and "ok", or with the
// step that failed.

import assert from "node:assert/strict";
import { createRequire } from "node:module";

const { io } = createRequire(new URL("../node/package.json", import.meta.url))("socket.io-client");
const [urlOfAda, urlOfGrace, path] = process.argv.slice(2);
const DEADLINE = 90_000;

setTimeout(() => {
  console.error("out of time");
  process.exit(1);
}, DEADLINE).unref();

/** A connected client that keeps what it hears. It tries again while its app is not there yet. */
async function join(url, name) {
  const socket = io(url, { path, auth: { name }, forceNew: true, reconnectionDelay: 50, reconnectionDelayMax: 200 });
  const heard = [];
  const waiting = [];
  socket.onAny((event, ...args) => {
    if (event === "question") return;
    heard.push([event, ...args]);
    for (const look of waiting) look();
  });
  socket.on("question", (question, answer) => answer(`${name} says: ${question}`));
  const hears = (event, ...args) =>
    new Promise((resolve) => {
      const look = () => {
        const at = heard.findIndex((one) => JSON.stringify(one) === JSON.stringify([event, ...args]));
        if (at >= 0) resolve(heard.splice(at, 1)[0]);
      };
      waiting.push(look);
      look();
    });
  await hears("welcome", name);
  return { socket, hears, heard };
}

const ada = await join(urlOfAda, "Ada");
const grace = await join(urlOfGrace, "Grace");

// Processes that find each other through something else need a moment for it.
const there = grace.hears("shouted", "Ada", "anybody there?");
const again = setInterval(() => ada.socket.emit("shout", "anybody there?"), 100);
await there;
clearInterval(again);

assert.equal(await ada.socket.emitWithAck("join", "garden"), 2, "its own room and this one");
assert.equal(await ada.socket.emitWithAck("join", "kitchen"), 3);
assert.equal(await grace.socket.emitWithAck("join", "garden"), 2);

ada.socket.emit("say", "kitchen", "to nobody else");
ada.socket.emit("say", "garden", "Grüße 🌱");
await grace.hears("said", "Ada", "Grüße 🌱");
grace.socket.emit("say", "kitchen", "from outside");
await ada.hears("said", "Grace", "from outside");
grace.socket.emit("shout", "all of you");
await ada.hears("shouted", "Grace", "all of you");

assert.equal(await grace.socket.emitWithAck("ask", "why?"), "Grace says: why?");
const bytes = await ada.socket.emitWithAck("echo", { deep: [Buffer.from([0, 30, 255])], text: null });
assert.deepEqual({ deep: [Buffer.from(bytes.deep[0])], text: bytes.text }, { deep: [Buffer.from([0, 30, 255])], text: null });

ada.socket.disconnect();
await grace.hears("left", "Ada");
const rest = grace.heard.filter((one) => one[2] !== "anybody there?");
assert.deepEqual(rest, [], "nothing was heard twice, or by who should not");
grace.socket.disconnect();
console.log("ok");
process.exit(0);
