// A page in a real Chromium whose connections are cut.
//
//   node recovery_page.mjs ENDPOINT PATH TRANSPORT COUNT
//
// Prints one line of JSON: the numbers that the page has received, and for each of its connects the socket id and whether
// the socket was recovered.

import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { once } from "node:events";
import { createRequire } from "node:module";

import { executablePath } from "../node/lib/chromium.mjs";

const require = createRequire(new URL("../node/package.json", import.meta.url));
const { chromium } = require("playwright-core");
const client = readFileSync(new URL("../node/node_modules/socket.io-client/dist/socket.io.min.js", import.meta.url));

const [endpoint, path, transport, count] = process.argv.slice(2);

const server = createServer((request, response) => {
  const script = request.url.endsWith(".js");
  response.writeHead(200, { "content-type": script ? "text/javascript" : "text/html" });
  response.end(script ? client : "<!doctype html><title>page</title><script src=/client.js></script>");
});
server.listen(0, "127.0.0.1");
await once(server, "listening");

const browser = await chromium.launch({
  executablePath,
  args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--no-proxy-server", "--disable-background-networking"],
});
const page = await browser.newPage();
await page.goto(`http://127.0.0.1:${server.address().port}/`);
const result = await page.evaluate(
  ([endpoint, path, transport, count]) =>
    new Promise((resolve) => {
      const numbers = [];
      const connects = [];
      const socket = io(endpoint, { path, transports: [transport], reconnectionDelay: 20, reconnectionDelayMax: 50 });
      socket.on("connect", () => {
        connects.push([socket.id, socket.recovered === true]);
        if (connects.length === 1) socket.emit("go");
      });
      socket.on("number", (number) => {
        numbers.push(number);
        if (number === count - 1) {
          socket.disconnect();
          resolve({ numbers, connects });
        }
      });
    }),
  [endpoint, path, transport, Number(count)],
);
await browser.close();
server.closeAllConnections();
server.close();
console.log(JSON.stringify(result));
