// The app server of the sample chat: an ordinary Socket.IO server, and one awaited call that connects it to Moorage.
// Plain HTTP serves the page.

import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { createRequire } from "node:module";

import { negotiate, useMoorage } from "moorage";
import { Server } from "socket.io";

import { joinChat } from "./chat.mjs";

const connectionString = process.env.MOORAGE_CONNECTION_STRING;
if (!connectionString) {
  console.error("Set MOORAGE_CONNECTION_STRING to the line that `moorage dev` prints: Endpoint=...;AccessKey=...;Version=1.0;");
  process.exit(2);
}

const page = new URL("../page/", import.meta.url);
const here = (name) => new URL(name, page);
const client = createRequire(page).resolve("socket.io-client/dist/socket.io.js");
const FILES = new Map([
  ["/", [here("index.html"), "text/html; charset=utf-8"]],
  ["/style.css", [here("style.css"), "text/css; charset=utf-8"]],
  ["/page.js", [here("page.js"), "text/javascript; charset=utf-8"]],
  ["/vendor/socket.io.js", [client, "text/javascript; charset=utf-8"]],
]);

async function serve(request, response) {
  const pathname = request.url.split("?", 1)[0];
  // The address and a token for a client: {endpoint, path, token}. A real app authenticates the user first.
  if (pathname === "/negotiate") return giveToken(request, response);
  const file = FILES.get(pathname);
  if (!file || request.method !== "GET") return response.writeHead(404).end("Not found\n");
  const [location, type] = file;
  response.writeHead(200, { "content-type": type, "cache-control": "no-cache" }).end(await readFile(location));
}

const httpServer = createServer(serve);
const io = new Server(httpServer, { serveClient: false });
await useMoorage(io, { hub: "chat", connectionString });
const giveToken = negotiate(io);
joinChat(io);

httpServer.listen(Number(process.env.PORT ?? 3000), process.env.HOST ?? "127.0.0.1", () => {
  const { address, port } = httpServer.address();
  console.log(`Chat page  http://${address}:${port}/`);
});

for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => io.close());
