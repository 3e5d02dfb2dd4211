import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";

import { Browser, KEYS, OPERATE_KEY, PHONE, cut, refresh, shows, sideways, visit } from "../lib/browser.mjs";
import { Service } from "../lib/service.mjs";
import { poll } from "../lib/waiting.mjs";
import { refused, world } from "../lib/world.mjs";

const PAGES = {
  overview: "Overview",
  connections: "Connections",
  rooms: "Rooms",
  hubs: "Hubs",
  apps: "App servers",
  nodes: "Nodes",
  trace: "Live trace",
  disconnects: "Disconnects",
  audit: "Audit log",
};
/** Text that becomes a script, or leaves its attribute, in a page that makes HTML from strings. */
const MARKUP = `<img src=x onerror="alert(1)">'"><script>alert(2)</script>`;

describe("every page", () => {
  let service, browser;
  before(async () => {
    [service, browser] = await Promise.all([Service.start({ set: KEYS }), Browser.start()]);
  });
  after(async () => {
    await browser.stop();
    await service.stop();
  });

  /** An app server that puts its clients into `rooms`. */
  async function app(w, ...rooms) {
    const io = await w.app();
    io.on("connection", (socket) => socket.join(rooms));
    return io;
  }

  it("says what to do while there are no clients", async (t) => {
    const page = await browser.signedIn(t, service);
    const empty = {
      overview: "No clients yet",
      connections: "No clients yet",
      rooms: "No rooms to show",
      hubs: "No hub is in use",
      apps: "No app server is connected",
      nodes: "ready",
      trace: "No packets yet",
      disconnects: "No client has left",
      audit: "No actions yet",
    };
    for (const [name, text] of Object.entries(empty)) {
      await visit(page, `#/${name}`);
      await shows(page.locator("main"), text);
    }
    await visit(page, "#/");
    await shows(page.locator("pre"), `io("${service.url}"`);
  });

  it("shows one client", async (t) => {
    const w = world(t, service);
    await app(w, "lobby");
    const client = await w.client({ query: { access_token: service.token(w.hub, { sub: "ada" }) } });
    client.emit("hello");
    const page = await browser.signedIn(t, service, `#/connections?hub=${w.hub}`);
    await shows(page.locator("tbody"), "ada");
    await visit(page, `#/rooms?hub=${w.hub}`);
    await shows(page.locator("tbody"), "lobby");
    await visit(page, "#/hubs");
    await shows(page.locator("tbody"), w.hub);
    await visit(page, `#/apps?hub=${w.hub}`);
    await shows(page.locator("tbody .badge"), "up");
    await visit(page, "#/nodes");
    await page.locator("tbody a.primary").click();
    await page.locator(".u-over").first().waitFor();
    await visit(page, "#/");
    await page.locator(".first-steps").waitFor({ state: "hidden" });
    client.disconnect();
    await visit(page, `#/disconnects?hub=${w.hub}`);
    await shows(page.locator("tbody"), "client-closed");
  });

  it("shows text that clients choose as text", async (t) => {
    const w = world(t, service);
    const io = await app(w, MARKUP, "lobby");
    io.of("/<b>").on("connection", () => {});
    const token = service.token(w.hub, { sub: MARKUP });
    const extraHeaders = { "x-from-a-client": MARKUP };
    const client = await w.client({ query: { access_token: token, [MARKUP]: MARKUP }, extraHeaders });
    await w.client({ nsp: "/<b>", query: { access_token: token } });
    const page = await browser.signedIn(t, service, `#/connections?hub=${w.hub}&room=${encodeURIComponent(MARKUP)}`);
    await shows(page.locator("tbody"), MARKUP);
    await page.locator("tbody a.primary").click();
    await shows(page.locator(".facts"), MARKUP);
    await shows(page.locator("td .badge"), MARKUP);
    await page.getByText("Request of the client").click();
    await shows(page.getByRole("row", { name: "x-from-a-client" }), MARKUP);
    client.emit(MARKUP, MARKUP);
    await visit(page, `#/rooms?hub=${w.hub}`);
    await page.getByRole("link", { name: MARKUP }).click();
    await shows(page.locator("tbody"), MARKUP);
    client.disconnect();
    await visit(page, `#/disconnects?user=${encodeURIComponent(MARKUP)}`);
    await shows(page.locator("tbody"), MARKUP);
    for (const hostile of [
      "%",
      "#",
      "%3Cscript%3E",
      "..%2F..%2Fapi",
      "a/b/c?x=<b>",
      "\u0000",
      "constructor",
      "__proto__",
    ]) {
      await page.evaluate((to) => (location.hash = to), `#/${hostile}`);
      await page.evaluate((to) => (location.hash = to), `#/connections/${hostile}`);
    }
    await visit(page, "#/");
    assert.equal(await page.locator("img, main script, iframe").count(), 0);
  });

  it("changes only what has changed at a refresh", async (t) => {
    const w = world(t, service);
    await app(w, "lobby");
    const clients = await w.clients(2);
    const page = await browser.signedIn(t, service, `#/rooms?hub=${w.hub}`);
    await shows(page.locator("tbody"), "lobby");
    await page.evaluate(() => {
      globalThis.changes = [];
      const note = (records) => changes.push(...records.map(({ target }) => target.textContent));
      new MutationObserver(note).observe(document.querySelector("main .table"), {
        subtree: true,
        childList: true,
        characterData: true,
      });
    });
    await refresh(page, "rooms");
    await refresh(page, "rooms");
    assert.deepEqual(await page.evaluate(() => changes), []);
    clients[0].disconnect();
    await poll(async () => {
      await refresh(page, "rooms");
      return (await page.evaluate(() => changes)).length > 0;
    }, "the new number");
    assert.deepEqual(await page.evaluate(() => changes), ["1"], "one cell");
  });

  it("fits on a phone", async (t) => {
    const w = world(t, service);
    await app(w, "lobby", "a-room-with-a-very-long-name-".repeat(6));
    await w.client({
      query: { access_token: service.token(w.hub, { sub: "somebody-with-a-very-long-name-".repeat(4) }) },
    });
    const page = await browser.signedIn(t, service, "#/", PHONE);
    for (const [name, title] of Object.entries(PAGES)) {
      await page.getByRole("button", { name: "Menu" }).click();
      await page.getByRole("link", { name: title, exact: true }).click();
      await page.getByRole("heading", { name: title, level: 1 }).waitFor();
      await page.locator(".state.ok").waitFor();
      assert.ok((await sideways(page)) <= 0, `${name} is as wide as the phone`);
      assert.deepEqual(await cut(page), [], `no table of ${name} is cut`);
    }
    await visit(page, `#/connections?hub=${w.hub}`);
    await page.locator("tbody a.primary").click();
    await page.locator(".facts").waitFor();
    assert.ok((await sideways(page)) <= 0, "a connection, too");
    await visit(page, "#/nodes");
    await page.locator("tbody a.primary").click();
    await page.locator(".u-over").first().waitFor();
    assert.ok((await sideways(page)) <= 0, "and a node");
  });

  it("shows on a phone below a row what has no column there", async (t) => {
    const w = world(t, service);
    await app(w, "lobby");
    const access_token = service.token(w.hub, { sub: "ada" });
    const client = await w.client({ query: { access_token } });
    const page = await browser.signedIn(t, service, `#/trace?user=ada&hub=${w.hub}`, PHONE);
    await shows(page.locator(".trace .note"), "1 connection");
    client.emit("hello");
    await shows(page.locator(".trace td:visible"), "hello");
    await page.locator(".trace td a:visible", { hasText: "ada" }).first().waitFor();

    const closing = { hub: w.hub, user: "ada", reason: "account closed" };
    const authorization = `Bearer ${OPERATE_KEY}`;
    await page.request.post(`${service.url}/api/v1/disconnect`, { headers: { authorization }, data: closing });
    await refused(w.socket({ hub: `${w.hub}_without_app` }));
    await visit(page, "#/disconnects");
    await page.getByText("api: account closed").waitFor();
    await page.getByText("refused: no app server is connected for this hub").first().waitFor();
    assert.deepEqual(await cut(page), []);
    await visit(page, "#/audit");
    await page.getByText(`hub ${w.hub}, namespace /, user ada, reason account closed`).first().waitFor();
    await page.getByText("operate key, 127.0.0.1").first().waitFor();
    assert.deepEqual(await cut(page), []);
    await page.setViewportSize({ width: 1280, height: 800 });
    await page.getByText("operate key, 127.0.0.1").first().waitFor({ state: "hidden" });
  });

  it("names its parts for screen readers", async (t) => {
    const w = world(t, service);
    await app(w, "lobby");
    await w.client();
    const page = await browser.signedIn(t, service);
    for (const name of Object.keys(PAGES)) {
      await visit(page, `#/${name}`);
      const nameless = await page.evaluate(() => {
        const fields = [...document.querySelectorAll("input, select, textarea")].filter(
          (field) => field.labels.length === 0 && !field.ariaLabel,
        );
        const buttons = [...document.querySelectorAll("button, a")].filter(
          (button) => button.textContent.trim() === "" && !button.ariaLabel,
        );
        const tables = [...document.querySelectorAll("table")].filter((one) => !one.caption || !one.tHead);
        const plots = [...document.querySelectorAll(".plot")].filter((plot) => !plot.ariaLabel);
        return [...fields, ...buttons, ...tables, ...plots].map((element) => element.outerHTML);
      });
      assert.deepEqual(nameless, [], name);
      assert.equal(await page.locator("h1").count(), 1);
    }
  });

  it("cannot be framed by another page", async (t) => {
    const page = await browser.page(t, { expected: /frame-ancestors 'none'/ });
    await page.goto(`${service.url}/healthz`);
    const refused = page.waitForEvent("console", (line) => line.text().includes("frame-ancestors 'none'"));
    await page.setContent(`<iframe src="${service.url}/dashboard"></iframe>`);
    await refused;
    assert.ok(!(await page.frames()[1].content()).includes("Moorage"));
  });
});
