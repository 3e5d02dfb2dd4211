// Pages of several origins in a real Chromium connect to Moorage, each with a cookie of Moorage's own host.
//
//   node cookie_pages.mjs ENDPOINT PATH LISTED_PORT
//
// Prints one line of JSON: page and way of connecting -> "connected" or the error. The app server's side of each is told
// apart by the query parameter `case`.

import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { once } from "node:events";
import { createRequire } from "node:module";

import { executablePath } from "../node/lib/chromium.mjs";

const require = createRequire(new URL("../node/package.json", import.meta.url));
const { chromium } = require("playwright-core");
const client = readFileSync(new URL("../node/node_modules/socket.io-client/dist/socket.io.min.js", import.meta.url));

const [endpoint, path, listedPort] = process.argv.slice(2);
// One registrable domain, so that the cookie is sent along: SameSite does not tell its hosts apart.
const LIVE = "live.shop.example";
const PAGES = { listed: Number(listedPort), foreign: 0 };
const WAYS = {
  websocket: { transports: ["websocket"] },
  polling: { transports: ["polling"] },
  credentials: { transports: ["polling"], withCredentials: true },
};

const server = createServer((request, response) => {
  const script = request.url.endsWith(".js");
  response.writeHead(200, { "content-type": script ? "text/javascript" : "text/html" });
  response.end(script ? client : "<!doctype html><title>page</title><script src=/client.js></script>");
});

const browser = await chromium.launch({
  executablePath,
  args: [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--no-proxy-server",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--host-resolver-rules=MAP *.shop.example 127.0.0.1",
  ],
});
const context = await browser.newContext();
await context.addCookies([{ name: "session", value: "secret", domain: LIVE, path: "/" }]);
const url = new URL(endpoint);
url.hostname = LIVE;

const results = {};
for (const [name, port] of Object.entries(PAGES)) {
  server.listen(port, "127.0.0.1");
  await once(server, "listening");
  const page = await context.newPage();
  await page.goto(`http://${name}.shop.example:${server.address().port}/`);
  for (const [way, options] of Object.entries(WAYS)) {
    results[`${name} ${way}`] = await page.evaluate(
      ([address, options]) =>
        new Promise((resolve) => {
          const socket = io(address, { reconnection: false, forceNew: true, ...options });
          socket.on("connect", () => (socket.disconnect(), resolve("connected")));
          socket.on("connect_error", (error) => resolve(error.message));
        }),
      [url.origin, { path, query: { case: `${name} ${way}` }, ...options }],
    );
  }
  await page.close();
  server.closeAllConnections();
  server.close();
  await once(server, "close");
}
await browser.close();
console.log(JSON.stringify(results));
