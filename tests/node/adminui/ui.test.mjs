// The official Admin UI, from its npm package, in a real Chromium.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { once } from "node:events";
import { extname } from "node:path";
import { fileURLToPath } from "node:url";
import { after, before, describe, it } from "node:test";

import { Browser, KEYS, OPERATE_KEY, READ_KEY, shows } from "../lib/browser.mjs";
import { Service } from "../lib/service.mjs";
import { next } from "../lib/waiting.mjs";
import { serverSide, world } from "../lib/world.mjs";

const PAGES = fileURLToPath(new URL("../node_modules/@socket.io/admin-ui/ui/dist/", import.meta.url));
const TYPES = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".png": "image/png" };

describe("the Admin UI of Socket.IO", () => {
  let service, browser, pages, address;
  before(async () => {
    const set = [...KEYS, "admin.trace_payloads=true", "admin.socketio_ui=true"];
    [service, browser] = await Promise.all([Service.start({ set }), Browser.start()]);
    pages = createServer(async (request, response) => {
      const name = request.url === "/" ? "index.html" : request.url.slice(1).split("?")[0];
      const body = await readFile(PAGES + name).catch(() => null);
      response.writeHead(body ? 200 : 404, { "content-type": TYPES[extname(name)] ?? "text/plain" }).end(body ?? "");
    });
    pages.listen(0, "127.0.0.1");
    await once(pages, "listening");
    address = `http://127.0.0.1:${pages.address().port}/`;
  });
  after(async () => {
    await browser.stop();
    pages.close();
    await service.stop();
  });

  /** The UI with its form filled in and sent. */
  async function asked(t, password, hub, { wsOnly = false } = {}) {
    const page = await browser.page(t, { expected: /invalid credentials|Download the Vue Devtools/ });
    // Fonts of strangers.
    await page.route((url) => url.hostname !== "127.0.0.1", (route) => route.abort());
    await page.goto(address);
    await page.getByLabel("Server URL").fill(service.url);
    await page.getByLabel("Username").fill("admin");
    await page.getByLabel("Password").fill(password);
    await page.getByText("Advanced options").click();
    await page.getByLabel("Path").fill("/admin/socket.io");
    await page.getByLabel("Admin namespace").fill(`/admin/${hub}`);
    if (wsOnly) await page.getByText("WebSocket only").click();
    await page.getByRole("button", { name: "Connect", exact: true }).click();
    return page;
  }

  const go = (page, path) => page.evaluate((to) => (location.hash = to), path);

  it("shows clients, rooms, events and servers to an operator, who disconnects a client", async (t) => {
    const w = world(t, service);
    const io = await w.app();
    const [first] = await w.clients(1);
    await serverSide(io, first).join("lobby");
    const page = await asked(t, OPERATE_KEY, w.hub);
    await go(page, "#/sockets/");
    await shows(page.locator("tbody"), first.id);
    const [second] = await w.clients(1);
    await shows(page.locator("tbody"), second.id);
    await go(page, "#/rooms/");
    await shows(page.locator("tbody"), "lobby");
    second.emit("hello", { deep: [1] });
    await go(page, "#/events/");
    await shows(page.locator("tbody"), "hello");
    await go(page, "#/servers/");
    await shows(page.locator("tbody"), "Healthy");
    await go(page, "#/sockets/");
    const gone = next(second, "disconnect");
    // The button is in a row that leads to the page of the socket.
    await page.locator("tbody tr", { hasText: second.id }).getByRole("button").first().click();
    await gone;
    await shows(page.locator("tbody"), "disconnected");
  });

  it("asks a reader again for a wrong password, and lets it change nothing", async (t) => {
    const w = world(t, service);
    await w.app();
    const [client] = await w.clients(1);
    const page = await asked(t, "wrong", w.hub, { wsOnly: true });
    await shows(page.locator(".red--text"), "Invalid credentials");
    await page.getByLabel("Password").fill(READ_KEY);
    await page.getByRole("button", { name: "Connect", exact: true }).click();
    await go(page, "#/sockets/");
    await shows(page.locator("tbody"), client.id);
    assert.equal(await page.locator("tbody tr", { hasText: client.id }).getByRole("button").count(), 0);
  });
});
