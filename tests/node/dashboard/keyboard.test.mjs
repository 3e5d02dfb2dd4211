import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";

import { Browser, KEYS, refresh } from "../lib/browser.mjs";
import { Service } from "../lib/service.mjs";
import { poll } from "../lib/waiting.mjs";
import { world } from "../lib/world.mjs";

describe("the keyboard", () => {
  let service, browser;
  before(async () => {
    [service, browser] = await Promise.all([Service.start({ set: KEYS }), Browser.start()]);
  });
  after(async () => {
    await browser.stop();
    await service.stop();
  });

  const heading = (page, name) => page.getByRole("heading", { name, level: 1 }).waitFor();
  const focused = (page) => page.evaluate(() => document.activeElement.name || document.activeElement.textContent);

  it("reaches every page with g and a letter", async (t) => {
    const page = await browser.signedIn(t, service);
    const pages = {
      c: "Connections",
      r: "Rooms",
      h: "Hubs",
      a: "App servers",
      n: "Nodes",
      t: "Live trace",
      d: "Disconnects",
      l: "Audit log",
      o: "Overview",
    };
    for (const [letter, name] of Object.entries(pages)) {
      await page.keyboard.press("g");
      await page.keyboard.press(letter);
      await heading(page, name);
      assert.equal(await page.locator("nav [aria-current=page]").textContent(), name);
      assert.equal(await page.title(), `${name} – Moorage`);
      assert.equal(await focused(page), name, "screen readers begin at the title");
    }
  });

  it("searches with a slash, from any page", async (t) => {
    const page = await browser.signedIn(t, service, "#/hubs");
    await page.keyboard.press("/");
    await heading(page, "Connections");
    await poll(async () => (await focused(page)) === "user", "the cursor in the search field");
    await page.keyboard.type("g/?");
    assert.equal(await page.getByLabel("User", { exact: true }).inputValue(), "g/?", "keys are text in a field");
    await page.keyboard.press("Escape");
    await page.keyboard.press("?");
    await page.getByRole("dialog", { name: "Keyboard" }).waitFor();
    await page.keyboard.press("Escape");
    await page.getByRole("dialog").waitFor({ state: "detached" });
  });

  it("pauses and continues with p", async (t) => {
    const page = await browser.signedIn(t, service, "#/hubs");
    await page.keyboard.press("p");
    await page.getByText("Paused").waitFor();
    await page.keyboard.press("p");
    await page.getByText("Live", { exact: true }).waitFor();
  });

  it("leaves the browser's own shortcuts alone", async (t) => {
    const page = await browser.signedIn(t, service, "#/hubs");
    await page.keyboard.press("Control+p");
    assert.equal(await page.locator(".state").textContent(), "Live");
  });

  it("walks through rows with j and k, and opens one", async (t) => {
    const w = world(t, service);
    await w.app();
    await w.clients(2);
    const page = await browser.signedIn(t, service, `#/connections?hub=${w.hub}`);
    const links = page.locator("tbody a.primary");
    await poll(async () => (await links.count()) === 2, "two rows");
    const at = () =>
      page.evaluate(() => [...document.querySelectorAll("tbody a.primary")].indexOf(document.activeElement));
    await page.keyboard.press("j");
    await page.keyboard.press("j");
    await page.keyboard.press("j");
    assert.equal(await at(), 1);
    await page.keyboard.press("k");
    assert.equal(await at(), 0);
    await refresh(page, "connections");
    await refresh(page, "connections");
    assert.equal(await at(), 0, "a refresh does not move the focus");
    await page.keyboard.press("Enter");
    await heading(page, "Connection");
  });

  it("shows where the focus is, and begins with a way past the navigation", async (t) => {
    const page = await browser.signedIn(t, service, "#/hubs");
    const skip = page.getByRole("link", { name: "Skip to the page" });
    await page.locator(".brand .name").focus();
    await page.keyboard.press("Shift+Tab");
    assert.ok((await skip.boundingBox()).y >= 0, "the link is visible once it has the focus");
    assert.notEqual(await skip.evaluate((link) => getComputedStyle(link).outlineStyle), "none");
    await page.keyboard.press("Enter");
    assert.equal(await focused(page), "Hubs");
  });
});
