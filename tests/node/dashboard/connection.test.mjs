import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";

import { Browser, KEYS, READ_KEY, shows, visit } from "../lib/browser.mjs";
import { Service } from "../lib/service.mjs";
import { next, poll } from "../lib/waiting.mjs";
import { world } from "../lib/world.mjs";

describe("a connection", () => {
  let service, browser;
  before(async () => {
    [service, browser] = await Promise.all([Service.start({ set: KEYS }), Browser.start()]);
  });
  after(async () => {
    await browser.stop();
    await service.stop();
  });

  /** A connected client of the user "ada" and its page. */
  async function opened(t, options) {
    const w = world(t, service);
    const io = await w.app();
    io.on("connection", (socket) => socket.on("ask", (_question, answer) => answer("yes")));
    const client = await w.client({
      query: { access_token: service.token(w.hub, { sub: "ada" }) },
      extraHeaders: { cookie: "session=secret" },
    });
    const page = await browser.signedIn(t, service, `#/connections?hub=${w.hub}&user=ada`, options);
    await page.locator("tbody a.primary").click();
    await page.locator(".facts").waitFor();
    return { w, io, client, page };
  }

  const dialog = (page) => page.getByRole("dialog");
  const button = (page, name) => page.locator(".toolbar").getByRole("button", { name, exact: true });

  it("shows its facts, and its secrets masked", async (t) => {
    const { w, client, page } = await opened(t);
    for (const fact of ["ada", w.hub, "127.0.0.1", "websocket"]) await shows(page.locator(".facts"), fact);
    await shows(page.locator("td.mono, td .mono"), client.id);
    await page.getByText("Request of the client").click();
    await shows(page.getByRole("row", { name: "cookie" }), "***");
    const text = await page.locator("main").textContent();
    assert.doesNotMatch(text, /eyJhbGciOi|session=secret/, "neither the token nor the cookie");
  });

  it("counts its messages, and is among the busiest ones", async (t) => {
    const { w, client, page } = await opened(t);
    const talk = setInterval(() => client.emit("hello"), 20);
    t.after(() => clearInterval(talk));
    const fact = page.locator(".facts div", { hasText: "Messages in" });
    await poll(async () => /^Messages in\d+ \([1-9][\d.]*\/s\)$/.test(await fact.textContent()), "a rate");
    await visit(page, `#/connections?hub=${w.hub}&order=messages`);
    await shows(page.locator("main"), "only the hub counts");
    const cells = page.locator("tbody tr", { hasText: "ada" }).locator("td");
    await poll(async () => Number((await cells.allTextContents()).at(-3)) > 1, "a rate in the list");
    await visit(page, "#/hubs");
    const hub = page.locator("tbody tr", { hasText: w.hub }).locator("td");
    await poll(async () => Number((await hub.allTextContents()).at(-3)) > 1, "a rate of the hub");
  });

  it("is found by the id of its socket, too, and the link can be shared", async (t) => {
    const { client, page } = await opened(t);
    const address = page.url();
    await visit(page, `#/connections?id=${encodeURIComponent(client.id)}`);
    await shows(page.locator("tbody"), "ada");
    const other = await browser.signedIn(t, service, new URL(address).hash);
    await shows(other.locator(".facts"), "ada");
  });

  it("gets an event", async (t) => {
    const { client, page } = await opened(t);
    await button(page, "Emit").click();
    await page.getByLabel("Event", { exact: true }).fill("notice");
    await page.getByLabel("Arguments").fill('["up at five"');
    await dialog(page).getByRole("button", { name: "Emit" }).click();
    await shows(dialog(page).getByRole("alert"), "not JSON");
    await page.getByLabel("Arguments").fill('["up at five", {"a": 1}]');
    const heard = next(client, "notice");
    await dialog(page).getByRole("button", { name: "Emit" }).click();
    assert.deepEqual(await heard, ["up at five", { a: 1 }]);
    await shows(page.locator(".toast"), "notice");
    await dialog(page).waitFor({ state: "detached" });
  });

  it("joins rooms and leaves them", async (t) => {
    const { w, io, client, page } = await opened(t);
    await button(page, "Join").click();
    await page.getByRole("textbox", { name: "Rooms" }).fill("red\nblue sky\n");
    await dialog(page).getByRole("button", { name: "Join" }).click();
    await shows(page.locator("td .badge"), "blue sky");
    const heard = next(client, "hello");
    io.to("red").emit("hello");
    await heard;
    await button(page, "Leave").click();
    await page.getByRole("textbox", { name: "Rooms" }).fill("red");
    await dialog(page).getByRole("button", { name: "Leave" }).click();
    await page.locator("td .badge", { hasText: "red" }).waitFor({ state: "detached" });
    await visit(page, "#/audit");
    await shows(page.locator("tbody"), w.hub);
    for (const action of ["join", "leave"])
      await page.getByRole("cell", { name: action, exact: true }).first().waitFor();
  });

  it("is closed, and the page says how it ended", async (t) => {
    const { client, page } = await opened(t);
    await button(page, "Disconnect").click();
    const over = next(client, "disconnect");
    await dialog(page).getByRole("button", { name: "Disconnect" }).click();
    await over;
    await page.getByText("This connection is closed").waitFor();
    await shows(page.locator("tbody"), "api-closed");
    await page.getByTitle("1003: an operator or a REST caller closed the connection").waitFor();
    await poll(() => button(page, "Emit").isDisabled(), "the actions are off");
    await page.reload();
    await page.getByText("This connection is closed").waitFor();
    await shows(page.locator("tbody"), "api-closed");
  });

  it("cannot be changed with the read key", async (t) => {
    const { page } = await opened(t, { key: READ_KEY });
    await page.getByText("Actions need the operate key").waitFor();
    for (const name of ["Emit", "Join", "Leave", "Disconnect"]) assert.ok(await button(page, name).isDisabled());
  });

  it("cannot be changed by another site", async (t) => {
    const { w, client, page } = await opened(t, { expected: /status of 403/ });
    const body = JSON.stringify({ hub: w.hub, user: "ada" });
    const status = await page.evaluate(async (sent) => {
      const plain = await fetch("/api/v1/disconnect", {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: sent,
      });
      return plain.status;
    }, body);
    assert.equal(status, 403, "the cookie alone is not enough");
    assert.ok(client.connected);
  });
});
