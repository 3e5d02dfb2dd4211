// balanced_clients.mjs URL PATH COUNT KEEP_ALIVE: stock clients with the default transports (polling, then an upgrade).
// Each one exchanges events before, during and after its upgrade. Prints one line: the ids of the sessions.

import { Agent } from "node:http";
import { createRequire } from "node:module";

const require = createRequire(new URL("../node/package.json", import.meta.url));
const { io } = require("socket.io-client");

const [url, path, count, keepAlive] = process.argv.slice(2);
const agent = keepAlive === "true" ? new Agent({ keepAlive: true }) : false;

async function client(number) {
  const socket = io(url, { path, agent, forceNew: true, reconnection: false });
  const failed = new Promise((_, reject) => {
    socket.on("connect_error", reject);
    socket.on("disconnect", (reason) => reject(new Error(reason)));
  });
  failed.catch(() => {});
  const echo = (text) => Promise.race([failed, socket.timeout(60_000).emitWithAck("echo", text)]);
  await Promise.race([failed, new Promise((resolve) => socket.on("connect", resolve))]);
  const { engine } = socket.io;
  const upgraded = new Promise((resolve) => {
    if (engine.transport.name === "websocket") resolve();
    else engine.on("upgrade", resolve);
  });
  for (let turn = 0; turn < 5; turn++) await check(echo, `${number} ${turn}`);
  await Promise.race([failed, upgraded]);
  await check(echo, "x".repeat(100_000));
  const sid = engine.id;
  socket.off("disconnect");
  socket.close();
  return sid;
}

async function check(echo, text) {
  const answer = await echo(text);
  if (answer !== text) throw new Error(`wrong answer: ${answer}`);
}

console.log(JSON.stringify(await Promise.all([...Array(Number(count)).keys()].map(client))));
process.exit(0);
