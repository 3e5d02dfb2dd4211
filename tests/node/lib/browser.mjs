// A real Chromium with the dashboard of a service. What its console says, and every break of the page's policy, is a
// failure.

import assert from "node:assert/strict";

import { chromium } from "playwright-core";

import { poll } from "./waiting.mjs";
import { executablePath } from "./chromium.mjs";

export const READ_KEY = "the-read-key-of-the-tests";
export const OPERATE_KEY = "the-operate-key-of-the-tests";
/** Settings of a service with both keys. */
export const KEYS = [`admin.read_key=${READ_KEY}`, `admin.operate_key=${OPERATE_KEY}`];

export const PHONE = { viewport: { width: 360, height: 740 }, isMobile: true, hasTouch: true };

const FLAGS = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--no-proxy-server",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];
/** The browser reports each of these answers on its console; the page handles them. */
const HANDLED = /^Failed to load resource: (the server responded with a status of (401|404|429)|net::ERR_)/;

export class Browser {
  static async start() {
    const browser = new Browser();
    browser._chromium = await chromium.launch({
      executablePath,
      args: FLAGS,
    });
    return browser;
  }

  async stop() {
    await this._chromium.close();
  }

  /** A page in a context of its own, not yet at any address. After the test `t` it must have had no problem but those that
   * match `expected`. */
  async page(t, { expected = /^$/, ...options } = {}) {
    const context = await this._chromium.newContext({ viewport: { width: 1280, height: 800 }, ...options });
    const page = await context.newPage();
    page.setDefaultTimeout(45_000);
    const problems = [];
    const note = (problem) => expected.test(problem) || problems.push(problem);
    page.on("pageerror", (error) => note(String(error)));
    page.on("dialog", (dialog) => note(`a dialog: ${dialog.message()}`));
    page.on("console", (line) => {
      if (["error", "warning"].includes(line.type()) && !HANDLED.test(line.text())) note(line.text());
    });
    t.after(async () => {
      await context.close();
      assert.deepEqual(problems, [], "the page had no problem");
    });
    return page;
  }

  /** A page that is signed in at `path`, such as `#/rooms`. */
  async signedIn(t, service, path = "#/", { key = OPERATE_KEY, ...options } = {}) {
    const page = await this.page(t, options);
    const answer = await page.request.post(`${service.url}/dashboard/session`, { data: { key } });
    assert.equal(answer.status(), 200);
    await page.goto(`${service.url}/dashboard${path}`);
    await page.locator(".state.ok").waitFor();
    return page;
  }
}

/** Goes to another address of the dashboard as somebody who follows a link. */
export async function visit(page, path) {
  await page.evaluate((to) => (location.hash = to), path);
  await page.locator(".state.ok").waitFor();
}

/** Waits until the text of `locator` contains `text`. */
export function shows(locator, text) {
  return poll(async () => (await locator.allTextContents()).join("\n").includes(text), `“${text}” on the page`);
}

/** By how many pixels the page is wider than its window. */
export function sideways(page) {
  return page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
}

/** The tables that are wider than their place, so that columns are out of sight. */
export function cut(page) {
  return page.evaluate(() =>
    [...document.querySelectorAll(".scroller")]
      .filter(({ scrollWidth, clientWidth }) => scrollWidth > clientWidth)
      .map(({ ariaLabel }) => ariaLabel),
  );
}

/** Lets the page refresh now, as when its tab is shown again, and waits for the answer of `path`. */
export async function refresh(page, path) {
  const answered = page.waitForResponse((response) => new URL(response.url()).pathname === `/api/v1/${path}`);
  await page.evaluate(() => document.dispatchEvent(new Event("visibilitychange")));
  await answered;
}
