// Stock clients that take compressed broadcasts.
//
//   node compressed_clients.mjs node|chromium ENDPOINT PATH TEXT COUNT
//
// Each of them emits `go` with TEXT, waits for COUNT events `news`, and prints one line of JSON: what it has received,
// and the extensions of its WebSocket, where they can be seen.

import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { once } from "node:events";
import { createRequire } from "node:module";

import { executablePath } from "../node/lib/chromium.mjs";

const require = createRequire(new URL("../node/package.json", import.meta.url));
const [kind, endpoint, path, text, count] = process.argv.slice(2);

const run = ([endpoint, path, text, count, io]) =>
  new Promise((resolve, reject) => {
    const news = [];
    const socket = (io ?? window.io)(endpoint, { path });
    // The default transports: polling, then an upgrade.
    socket.on("connect", () => {
      const { engine } = socket.io;
      if (engine.transport.name === "websocket") socket.emit("go", text);
      else engine.once("upgrade", () => socket.emit("go", text));
    });
    socket.on("connect_error", reject);
    socket.on("news", (value, bytes) => {
      news.push([value.length, bytes.byteLength]);
      if (news.length === count) {
        const extensions = socket.io.engine.transport.ws.extensions;
        resolve({ news, extensions: typeof extensions === "string" ? extensions : Object.keys(extensions).join() });
        socket.disconnect();
      }
    });
  });

if (kind === "node") {
  const { io } = require("socket.io-client");
  console.log(JSON.stringify(await run([endpoint, path, text, Number(count), io])));
  process.exit(0);
}

const { chromium } = require("playwright-core");
const client = readFileSync(new URL("../node/node_modules/socket.io-client/dist/socket.io.min.js", import.meta.url));
const server = createServer((request, response) => {
  const script = request.url.endsWith(".js");
  response.writeHead(200, { "content-type": script ? "text/javascript" : "text/html" });
  response.end(script ? client : "<!doctype html><title>page</title><script src=/client.js></script>");
});
server.listen(0, "127.0.0.1");
await once(server, "listening");
const browser = await chromium.launch({
  executablePath,
  args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--no-proxy-server", "--disable-background-networking", "--ignore-certificate-errors"],
});
const page = await browser.newPage();
await page.goto(`http://127.0.0.1:${server.address().port}/`);
console.log(JSON.stringify(await page.evaluate(run, [endpoint, path, text, Number(count)])));
await browser.close();
server.closeAllConnections();
server.close();
