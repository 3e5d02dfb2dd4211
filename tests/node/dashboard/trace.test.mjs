import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";

import { Browser, KEYS, OPERATE_KEY, READ_KEY, shows, visit } from "../lib/browser.mjs";
import { Service } from "../lib/service.mjs";
import { next, poll } from "../lib/waiting.mjs";
import { serverSide, world } from "../lib/world.mjs";

const MARKUP = "<img src=x onerror=alert(1)>";

describe("the live trace", () => {
  let service, browser;
  before(async () => {
    const set = [...KEYS, "admin.trace_payloads=true"];
    [service, browser] = await Promise.all([Service.start({ set }), Browser.start()]);
  });
  after(async () => {
    await browser.stop();
    await service.stop();
  });

  /** An app server that answers, and a client of the user "ada". */
  async function joined(t) {
    const w = world(t, service);
    const io = await w.app();
    io.on("connection", (socket) => {
      socket.join("lobby");
      socket.on("ask", (_question, answer) => answer("yes"));
    });
    const client = await w.client({ query: { access_token: service.token(w.hub, { sub: "ada" }) } });
    return { w, io, client };
  }

  const row = (page, ...texts) =>
    texts.reduce((rows, hasText) => rows.filter({ hasText }), page.locator(".trace tbody tr")).first();
  const isWatching = (page) => shows(page.locator(".trace .note"), "Watching 1 connection");

  it("of a connection shows its packets, with the time of an ack", async (t) => {
    const { w, io, client } = await joined(t);
    const page = await browser.signedIn(t, service, `#/connections?hub=${w.hub}`);
    await page.locator("tbody a.primary").click();
    await isWatching(page);
    await client.emitWithAck("ask", MARKUP);
    await row(page, "in", "ask", "asks #", MARKUP).waitFor();
    await row(page, "out", "ms").waitFor();
    io.emit("news");
    await row(page, "out", "news").waitFor();
    client.emit(MARKUP);
    await row(page, "in", MARKUP).waitFor();
    client.disconnect();
    await row(page, "closed", "client-closed").waitFor();
    assert.equal(await page.locator("img").count(), 0);
    const edges = (cells) => cells.evaluateAll((all) => all.map((cell) => Math.round(cell.getBoundingClientRect().x)));
    const heads = await edges(page.locator(".trace th"));
    assert.deepEqual(await edges(row(page, "closed", "client-closed").locator("td")), heads, "its cells are below their heads");
  });

  it("that begins after a question says what an ack answers", async (t) => {
    const { w, io, client } = await joined(t);
    const asked = next(client, "question");
    serverSide(io, client).emit("question", () => {});
    const [answer] = await asked;
    const page = await browser.signedIn(t, service, `#/trace?user=ada&hub=${w.hub}`);
    await isWatching(page);
    answer("late");
    await row(page, "in", "ack", "answers #").waitFor();
  });

  it("can be stopped, continued, filtered and cleared", async (t) => {
    const { w, client } = await joined(t);
    const page = await browser.signedIn(t, service, `#/connections?hub=${w.hub}`);
    await page.locator("tbody a.primary").click();
    await isWatching(page);
    const press = (name) => page.locator(".trace").getByRole("button", { name }).click();
    client.emit("first");
    client.emit("second");
    await row(page, "second").waitFor();
    await page.getByLabel("Event contains").fill("SEC");
    await row(page, "first").waitFor({ state: "hidden" });
    await row(page, "second").waitFor();
    await page.getByLabel("Event contains").fill("");
    await press("Stop");
    client.emit("unseen");
    await client.emitWithAck("ask", "has it passed?");
    await press("Start");
    await isWatching(page);
    client.emit("third");
    await row(page, "third").waitFor();
    assert.equal(await row(page, "unseen").count(), 0);
    await press("Clear");
    await page.getByText("No packets yet").waitFor();
  });

  it("follows a user, a room, an app server or everybody", async (t) => {
    const { w, client } = await joined(t);
    const page = await browser.signedIn(t, service, `#/trace?user=ada&hub=${w.hub}`);
    const sees = async (event) => {
      await isWatching(page);
      client.emit(event);
      await row(page, "ada", event).waitFor();
    };
    await sees("of-a-user");
    await visit(page, `#/rooms?hub=${w.hub}`);
    await page.getByRole("link", { name: "Trace", exact: true }).click();
    await sees("of-a-room");
    await visit(page, `#/apps?hub=${w.hub}`);
    await page.getByRole("link", { name: "Trace", exact: true }).click();
    await sees("of-an-app-server");
    await page.getByLabel("Watch").selectOption("sample");
    assert.equal(await page.getByLabel("Which").inputValue(), "1");
    await shows(page.locator(".trace .note"), "Watching");
    await sees("of-everybody");
  });

  it("shows no payload to the read key, and is bounded", async (t) => {
    const { w, client } = await joined(t);
    const page = await browser.signedIn(t, service, `#/trace?user=ada&hub=${w.hub}`, { key: READ_KEY });
    await isWatching(page);
    client.emit("private", "a secret");
    await row(page, "private").waitFor();
    // In parts, because a trace sees 500 packets a second.
    for (let first = 0; first < 700; first += 100) {
      for (let number = first; number < first + 100; number++) client.emit(`number-${number}`);
      await row(page, `number-${first + 99}`).waitFor();
    }
    assert.ok((await page.locator(".trace tbody tr").count()) <= 500);
    assert.doesNotMatch(await page.locator("main").textContent(), /a secret/);
  });

  it("ends after some minutes in a hidden tab, and goes on when the tab is shown", async (t) => {
    const { w, client } = await joined(t);
    const page = await browser.page(t);
    await page.clock.install();
    await page.request.post(`${service.url}/dashboard/session`, { data: { key: OPERATE_KEY } });
    await page.goto(`${service.url}/dashboard#/trace?user=ada&hub=${w.hub}`);
    await isWatching(page);
    const hide = (hidden) =>
      page.evaluate((value) => {
        Object.defineProperty(document, "hidden", { value, configurable: true });
        document.dispatchEvent(new Event("visibilitychange"));
      }, hidden);
    await hide(true);
    await page.clock.fastForward(60_000);
    client.emit("seen");
    await poll(async () => {
      await page.clock.fastForward(500);
      return (await row(page, "seen").count()) > 0;
    }, "a packet of the hidden tab");
    await page.clock.fastForward(300_000);
    await shows(page.locator(".trace .note"), "the tab is hidden");
    await hide(false);
    await isWatching(page);
  });

  it("ends with the page, and says why it was refused", async (t) => {
    const { w } = await joined(t);
    const page = await browser.signedIn(t, service, `#/trace?user=ada&hub=${w.hub}`, { expected: /status of 400/ });
    await isWatching(page);
    await visit(page, "#/hubs");
    await visit(page, "#/trace?sample=7");
    await poll(async () => /sample|7/.test(await page.locator(".trace .note").textContent()), "the reason");
    const left = await fetch(`${service.url}/api/v1/trace?sample=2`, {
      headers: { authorization: `Bearer ${OPERATE_KEY}` },
    });
    assert.equal(left.status, 400);
  });
});
