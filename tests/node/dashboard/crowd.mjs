// Every page of the dashboard of a service with very many clients.
//
//   node crowd.mjs URL KEY
//
// Prints one line of JSON: milliseconds from the first request until the first page shows its curves, those until each
// page shows its rows, what the first page has asked the Admin API for, and the problems of the pages.

import { Browser } from "../lib/browser.mjs";

const [url, key] = process.argv.slice(2);
const ROWS = {
  connections: ".table tbody tr",
  rooms: ".table tbody tr",
  hubs: ".table tbody tr",
  apps: ".table tbody tr",
  nodes: ".table tbody tr",
  "connections?min_age=1&address=127.0.0.1": ".table tbody tr",
};

const ends = [];
const browser = await Browser.start();
const page = await browser.page({ after: (end) => ends.push(end) });
await page.goto(`${url}/dashboard#key=${key}`);
await page.locator(".u-over").first().waitFor();
// Once more, signed in and in a tab of its own: the first time the browser itself was warming up.
const tab = await page.context().newPage();
const asked = [];
tab.on("request", (request) => asked.push(new URL(request.url()).pathname));
await tab.goto(`${url}/dashboard`);
await tab.locator(".u-over").first().waitFor();
const first = await tab.evaluate(() => performance.now());
const requests = asked.filter((path) => path.startsWith("/api/v1/")).map((path) => path.slice("/api/v1/".length));

const pages = {};
for (const [address, rows] of Object.entries(ROWS)) {
  pages[address] = await tab.evaluate(
    ([to, selector]) =>
      new Promise((resolve) => {
        const began = performance.now();
        location.hash = `#/${to}`;
        const look = () => {
          const shown = document.querySelector(`main ${selector}`)?.offsetParent;
          if (shown && location.hash === `#/${to}`) resolve(performance.now() - began);
          else requestAnimationFrame(look);
        };
        requestAnimationFrame(look);
      }),
    [address, rows],
  );
}
// These may have no rows yet.
for (const [address, title] of [["disconnects", "Disconnects"], ["audit", "Audit log"], ["trace?sample=1", "Live trace"]]) {
  await tab.evaluate((to) => (location.hash = `#/${to}`), address);
  await tab.getByRole("heading", { name: title, exact: true }).waitFor();
}
await tab.evaluate(() => (location.hash = "#/connections"));
await tab.locator("tbody a.primary").first().click();
await tab.locator(".facts").first().waitFor();
const problems = [];
for (const end of ends) await end().catch((error) => problems.push(error.message));
await browser.stop();
console.log(JSON.stringify({ first, requests, pages, problems }));
