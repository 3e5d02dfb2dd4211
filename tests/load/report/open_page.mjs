// node open_page.mjs FILE: opens a report in Chromium and prints what it is like there, as one JSON object.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

import { executablePath } from "../../node/lib/chromium.mjs";

const require = createRequire(new URL("../../node/package.json", import.meta.url));
const { chromium } = require("playwright-core");

const browser = await chromium.launch({
  executablePath,
  args: ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--no-proxy-server"],
});
const context = await browser.newContext({ viewport: { width: 390, height: 720 }, colorScheme: "dark" });
const page = await context.newPage();
const problems = [];
const requests = [];
page.on("pageerror", (error) => problems.push(String(error)));
page.on("console", (line) => problems.push(line.text()));
page.on("dialog", (dialog) => problems.push(dialog.message()));
page.on("request", (request) => requests.push(request.url()));
await page.goto(pathToFileURL(process.argv[2]).href);
const found = await page.evaluate(() => ({
  charts: [...document.querySelectorAll("svg")].filter((one) => one.getBoundingClientRect().height > 50).length,
  width: document.documentElement.scrollWidth,
  background: getComputedStyle(document.body).backgroundColor,
  text: document.body.innerText,
}));
await browser.close();
console.log(JSON.stringify({ ...found, problems, requests: requests.length }));
