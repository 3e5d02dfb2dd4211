// The dashboard of a cluster whose second node freezes, comes back, and is drained.
//
//   node nodes.mjs URL KEY
//
// Prints what it has seen, a line each, and waits after each line for a line of input.

import { once } from "node:events";
import { createInterface } from "node:readline";

import { Browser, shows, visit } from "../lib/browser.mjs";
import { poll } from "../lib/waiting.mjs";

const [url, key] = process.argv.slice(2);
const input = createInterface({ input: process.stdin });
const tell = async (line) => {
  const answer = once(input, "line");
  console.log(line);
  await answer;
};

const ends = [];
const browser = await Browser.start();
const page = await browser.signedIn({ after: (end) => ends.push(end) }, { url }, "#/nodes", { key });
for (const name of ["node-1", "node-2"]) await shows(page.locator("tbody"), name);
await tell("both");

// Each page asks when it is opened, so one of them asks before the frozen node counts as dead.
const notice = page.locator(".notice.warn", { hasText: "node-2" });
await poll(async () => {
  for (const name of ["hubs", "nodes"]) {
    const answered = page.waitForResponse((response) => response.url().endsWith(`/api/v1/${name}`));
    await visit(page, `#/${name}`);
    await answered;
    const told = page.getByText("node-2 does not answer. This page shows the other nodes only.");
    if (
      await told.waitFor({ timeout: 1_500 }).then(
        () => true,
        () => false,
      )
    )
      return true;
  }
  return false;
}, "the frozen node");
await tell("frozen");

await visit(page, "#/nodes");
await page.locator("tbody", { hasText: "node-2" }).waitFor();
await notice.waitFor({ state: "hidden" });
await tell("back");

await visit(page, "#/nodes/node-2");
await page.getByRole("button", { name: "Drain", exact: true }).click();
await page.getByRole("button", { name: "Drain the node" }).click();
await shows(page.locator(".toast"), "node-2 is draining");
await poll(
  async () =>
    (await page.getByText("This node is not in the cluster").isVisible()) ||
    (await page.locator(".facts", { hasText: "draining" }).isVisible()),
  "the drain",
);
await visit(page, "#/nodes");
await shows(page.locator(".notice.warn"), "node-2 has left the cluster");
for (const end of ends) await end();
await browser.stop();
console.log("drained");
input.close();
