// Drives the sample chat: Ada in a real Chromium, Grace in Node.js, both through Moorage.
//
//   node chat_page.mjs PAGE ENDPOINT
//
// Every step waits for what must appear on the other side; nothing sleeps. Ends with status 0 and "ok", or with
// the step that failed.

import assert from "node:assert/strict";
import { once } from "node:events";
import { createRequire } from "node:module";

import { executablePath } from "../node/lib/chromium.mjs";

const require = createRequire(new URL("../node/package.json", import.meta.url));
const { chromium } = require("playwright-core");
const { io } = require("socket.io-client");

const [page_address, endpoint] = process.argv.slice(2);
const HUB_PATH = "/clients/socketio/hubs/chat";

const browser = await chromium.launch({
  executablePath,
  args: [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--no-proxy-server",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
  ],
});
const context = await browser.newContext({ viewport: { width: 390, height: 720 } }); // a phone's
const page = await context.newPage();
page.setDefaultTimeout(60_000);

const problems = [];
page.on("pageerror", (error) => problems.push(String(error)));
page.on("console", (line) => line.type() === "error" && problems.push(line.text()));
const webSocket = page.waitForEvent("websocket");

await page.goto(page_address);
await page.getByLabel("What should the others call you?").fill("Ada");
await page.getByRole("button", { name: "Come in" }).click();
await page.getByText("Welcome, Ada").waitFor();
await page.getByText("just you").waitFor();

// The page talks to Moorage, not to the app server, with the token if it was given one, and gets from polling to a
// WebSocket.
const { host } = new URL(endpoint);
const address = new URL((await webSocket).url());
const { token } = await (await fetch(new URL("negotiate", page_address))).json();
assert.equal(address.host, host);
assert.equal(address.pathname, `${HUB_PATH}/`);
assert.equal(address.searchParams.has("access_token"), token !== undefined);

const grace = io(endpoint, { path: HUB_PATH });
grace.emit("add user", "  Grace  ");
const [welcome] = await once(grace, "login");
assert.deepEqual(welcome, { username: "Grace", numUsers: 2 });
await page.getByText("Grace joined").waitFor();
await page.getByText("2 people").waitFor();

// Node.js to page; markup stays text, and text beyond ASCII arrives whole.
grace.emit("typing");
await page.getByText("Grace is typing").waitFor();
grace.emit("new message", "<b>Grüße</b> 👋 from Node.js");
const shown = page.locator("#log .message", { hasText: "<b>Grüße</b> 👋 from Node.js" });
await shown.waitFor();
assert.equal(await shown.locator(".name").textContent(), "Grace");
assert.equal(await page.locator("#typing").textContent(), "", "a message ends the typing");

// Page to Node.js: the app server acknowledges to the page, which then shows the message as sent.
const typing = once(grace, "typing");
const heard = once(grace, "new message");
const stopped = once(grace, "stop typing");
await page.getByLabel("Message", { exact: true }).pressSequentially("Hello Grace");
assert.deepEqual((await typing)[0], { username: "Ada" });
await page.getByLabel("Message", { exact: true }).press("Enter");
assert.deepEqual((await heard)[0], { username: "Ada", message: "Hello Grace" });
assert.deepEqual((await stopped)[0], { username: "Ada" });
await page.locator("#log .own:not(.waiting)", { hasText: "Hello Grace" }).waitFor();

// Nothing on a phone's screen may stick out sideways.
assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth));

// A name is given once; an empty message is none. The next thing heard is the proper message.
grace.emit("add user", "Mallory");
grace.emit("new message", "   ");
grace.emit("new message", { text: "not text" });
await grace.emitWithAck("new message", "last words");
await page.locator("#log .message", { hasText: "last words" }).waitFor();
assert.equal(await page.locator("#log .message:not(.own)").count(), 2);
assert.equal(await page.getByText("Mallory").count(), 0);

grace.disconnect();
await page.getByText("Grace left").waitFor();
await page.getByText("just you").waitFor();

assert.deepEqual(problems, [], "the page's console is clean");
await browser.close();
console.log("ok");
