// An app server with TLS on its link: `tls_app.mjs node|azure OPTIONS`, where OPTIONS is JSON for the SDK and
// for a stock client. It prints `linked` or the error, then what a client got back over each transport.

import { createRequire } from "node:module";
import { createServer } from "node:http";
import { readFileSync } from "node:fs";

const [, , kind, text] = process.argv;
const { caFile, url, path, ...options } = JSON.parse(text);
const peers = createRequire(new URL("../node/package.json", import.meta.url));
const ca = caFile ? readFileSync(caFile) : undefined;
let io;
try {
  if (kind === "azure") {
    io = new (peers("socket.io").Server)(createServer());
    await peers("@azure/web-pubsub-socket.io").useAzureSocketIO(io, options);
  } else {
    const own = createRequire(new URL("../../sdk-node/package.json", import.meta.url));
    const { useMoorage } = await import(new URL("../../sdk-node/dist/esm/index.js", import.meta.url));
    io = new (own("socket.io").Server)(createServer());
    await useMoorage(io, { ...options, request: ca && { ca } });
  }
} catch (error) {
  console.log(`failed: ${error.message.replaceAll("\n", " ")} ${error.cause?.message ?? ""}`);
  process.exit(1);
}
console.log("linked");
io.on("connection", (socket) => {
  socket.on("echo", (value, ack) => ack(`${socket.handshake.secure} ${value.length}`));
});
const { io: connect } = peers("socket.io-client");
for (const transports of [["websocket"], ["polling"], ["polling", "websocket"]]) {
  const client = connect(url, { path, transports, ca, forceNew: true });
  await new Promise((resolve, reject) => client.on("connect", resolve).on("connect_error", reject));
  if (transports.length > 1 && client.io.engine.transport.name === "polling")
    await new Promise((resolve) => client.io.engine.once("upgrade", resolve));
  console.log(`${client.io.engine.transport.name}: ${await client.emitWithAck("echo", "x".repeat(100_000))}`);
  client.close();
}
process.exit(0);
