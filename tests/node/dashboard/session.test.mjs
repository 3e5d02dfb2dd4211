import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";

import { Browser, KEYS, OPERATE_KEY, READ_KEY, refresh, shows } from "../lib/browser.mjs";
import { Service } from "../lib/service.mjs";
import { poll } from "../lib/waiting.mjs";

describe("a session", () => {
  let service, browser;
  before(async () => {
    [service, browser] = await Promise.all([Service.start({ set: KEYS }), Browser.start()]);
  });
  after(async () => {
    await browser.stop();
    await service.stop();
  });

  const signIn = async (page, key) => {
    await page.getByLabel("Admin key").fill(key);
    await page.getByRole("button", { name: "Sign in" }).click();
  };

  it("begins with a key, and a wrong one is refused", async (t) => {
    const page = await browser.page(t);
    await page.goto(`${service.url}/dashboard`);
    await page.getByRole("button", { name: "Sign in" }).click();
    await shows(page.getByRole("alert"), "Enter an admin key");
    await signIn(page, "wrong-wrong-wrong");
    await shows(page.getByRole("alert"), "key");
    await signIn(page, READ_KEY);
    await page.getByRole("heading", { name: "Overview", level: 1 }).waitFor();
    await page.reload();
    await page.getByRole("heading", { name: "Overview", level: 1 }).waitFor();
  });

  it("keeps its cookie from scripts", async (t) => {
    const page = await browser.signedIn(t, service);
    const [cookie] = await page.context().cookies();
    assert.deepEqual(
      [cookie.name, cookie.httpOnly, cookie.sameSite, cookie.path],
      ["moorage_admin", true, "Strict", "/"],
    );
    assert.equal(await page.evaluate(() => document.cookie), "");
  });

  it("begins with the link that `moorage dev` prints, and the key leaves the address", async (t) => {
    const page = await browser.page(t);
    const printed = service.lines.map((line) => /Dashboard +(\S+)/.exec(line)?.[1]).find(Boolean);
    await page.goto(printed);
    await page.getByRole("heading", { name: "Overview", level: 1 }).waitFor();
    assert.ok(!page.url().includes("key"), page.url());
    await page.goBack();
    assert.ok(!page.url().includes("key"), "nor is it in the history");
  });

  it("that has ended asks for the key, and goes on at the same page", async (t) => {
    const page = await browser.signedIn(t, service, "#/rooms?prefix=a");
    await page.context().clearCookies();
    await refresh(page, "rooms");
    await shows(page.getByRole("alert"), "Your session has ended");
    await signIn(page, OPERATE_KEY);
    await page.getByRole("heading", { name: "Rooms", level: 1 }).waitFor();
    assert.equal(await page.getByLabel("Name begins with").inputValue(), "a");
  });

  it("ends when somebody signs out", async (t) => {
    const page = await browser.signedIn(t, service);
    await page.getByRole("button", { name: "Sign out" }).click();
    await page.getByLabel("Admin key").waitFor();
    assert.deepEqual(await page.context().cookies(), []);
    await page.reload();
    await page.getByLabel("Admin key").waitFor();
  });

  it("reminds of its end, and cannot begin after many wrong keys", async (t) => {
    const short = await Service.start({ set: [...KEYS, "admin.session_ttl=300"] });
    t.after(() => short.stop());
    const page = await browser.signedIn(t, short);
    await shows(page.locator(".notice"), "Your session ends at");

    // The same service, so that the limit does not meet the other tests: after many wrong keys every key is refused for a while.
    for (let tries = 0; tries < 12; tries++) {
      await page.request.post(`${short.url}/dashboard/session`, { data: { key: "wrong-wrong-wrong" } });
    }
    await page.getByRole("button", { name: "Sign out" }).click();
    await signIn(page, OPERATE_KEY);
    await shows(page.getByRole("alert"), "try again in");
  });

  it("of the read key can look, not act", async (t) => {
    const page = await browser.signedIn(t, service, "#/nodes", { key: READ_KEY });
    await page.locator("td a.primary").click();
    assert.ok(await page.getByRole("button", { name: "Drain" }).isDisabled());
    await page.getByText("Draining needs the operate key").waitFor();
  });

  it("survives a restart of the service, and the page says while it is away", async (t) => {
    const other = await Service.start({ set: KEYS });
    t.after(() => other.stop());
    const page = await browser.signedIn(t, other, "#/hubs");
    await other.kill();
    await shows(page.locator(".notice"), "The service does not answer. You see what was true at");
    await page.locator(".content.stale").waitFor();
    await other.restart();
    await page.locator(".content:not(.stale)").waitFor();
    assert.equal(await page.locator(".notice.bad").isVisible(), false);
  });

  it("pauses while the tab is hidden", async (t) => {
    const page = await browser.page(t);
    await page.clock.install();
    await page.goto(`${service.url}/dashboard#key=${READ_KEY}`);
    await page.locator(".state.ok").waitFor();
    let asked = 0;
    page.on("request", () => (asked += 1));
    await page.clock.fastForward(6000);
    await poll(() => asked > 0, "a refresh");
    await page.waitForLoadState("networkidle");
    await page.evaluate(() => {
      Object.defineProperty(document, "hidden", { value: true, configurable: true });
      document.dispatchEvent(new Event("visibilitychange"));
    });
    const before = asked;
    await page.clock.fastForward(600_000);
    assert.equal(asked, before);
    await page.evaluate(() => {
      delete document.hidden;
      document.dispatchEvent(new Event("visibilitychange"));
    });
    await poll(() => asked > before, "a request at once");
  });
});
