// The package as users get it: packed, installed elsewhere, used from both module systems and from TypeScript.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { copyFile, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { Service } from "../../../tests/node/lib/service.mjs";
import { VERSION } from "../../dist/esm/version.js";

const run = promisify(execFile);
const SDK = fileURLToPath(new URL("../..", import.meta.url));
const TSC = join(SDK, "node_modules", ".bin", "tsc");
const manifest = createRequire(import.meta.url)("../../package.json");

let folder;
let files;
let service;
let warnings;

before(async () => {
  service = await Service.start();
  folder = await mkdtemp(join(tmpdir(), "moorage-package-"));
  const packed = await run("node", [join(SDK, "scripts", "pack.mjs"), folder]);
  const [{ filename, files: list }] = JSON.parse(packed.stdout);
  files = list.map(({ path }) => path);
  const { devDependencies: dev } = manifest;
  const dependencies = {
    moorage: `file:${filename}`,
    "socket.io": dev["socket.io"],
    "socket.io-client": dev["socket.io-client"],
    "@types/node": dev["@types/node"],
  };
  await writeFile(join(folder, "package.json"), JSON.stringify({ private: true, dependencies }));
  const install = ["install", "--prefer-offline", "--no-audit", "--no-fund", "--no-package-lock"];
  ({ stderr: warnings } = await run("npm", install, { cwd: folder }));
});

after(async () => {
  await service?.stop();
  if (folder) await rm(folder, { recursive: true });
});

test("contains the needed files, and no tests", () => {
  for (const wanted of ["README.md", "LICENSE", "dist/esm/index.js", "dist/esm/index.d.ts", "dist/cjs/index.js", "dist/cjs/package.json"])
    assert.equal(files.includes(wanted), true, wanted);
  assert.deepEqual(files.filter((path) => /test|node_modules|tsconfig|[.]ready/.test(path)), []);
});

// npm 11.16 and newer warn of packages with install scripts.
test("npm has nothing to say about it", () => assert.doesNotMatch(warnings, /moorage/));

test("its package.json is this one, without the scripts that need a checkout", async () => {
  const { scripts, ...rest } = manifest;
  assert.deepEqual(JSON.parse(await readFile(join(folder, "node_modules", "moorage", "package.json"), "utf8")), rest);
});

test("sends its version to the service", () => assert.equal(VERSION, manifest.version));

/** Connects, echoes a message and ends. */
const APP = `
  async function main() {
    const io = new Server();
    const { connectionString, url } = JSON.parse(process.env.SERVICE);
    await io.useAzureSocketIO({ hub: "app", connectionString });
    io.on("connection", (socket) => socket.on("echo", (value, answer) => answer(value)));
    const client = connect(url, { path: "/clients/socketio/hubs/app" });
    console.log(await client.emitWithAck("echo", typeof useMoorage));
    client.disconnect();
    await io.close();
  }
  main();
`;
const IMPORTS = {
  mjs: 'import { Server } from "socket.io"; import { io as connect } from "socket.io-client"; import { useMoorage } from "moorage";',
  cjs: 'const { Server } = require("socket.io"); const { io: connect } = require("socket.io-client"); const { useMoorage } = require("moorage");',
};

for (const kind of ["mjs", "cjs"]) {
  test(`works as ${kind}, and lets the process end`, async () => {
    await writeFile(join(folder, `app.${kind}`), IMPORTS[kind] + APP);
    const env = { ...process.env, SERVICE: JSON.stringify({ connectionString: service.connectionString(), url: service.url }) };
    const { stdout } = await run("node", [`app.${kind}`], { cwd: folder, env, timeout: 20_000 });
    assert.equal(stdout.trim(), "function");
  });
}

test("has types for both", async () => {
  const consumers = ["consumer.mts", "consumer.cts"];
  for (const file of consumers) await copyFile(new URL("../types/consumer.mts", import.meta.url), join(folder, file));
  const flags = ["--noEmit", "--strict", "--target", "es2022", "--module", "nodenext", "--types", "node"];
  await assert.doesNotReject(run(TSC, [...flags, ...consumers], { cwd: folder }), (error) => assert.fail(error.stdout));
});

test("exports what README lists", async () => {
  const readme = await readFile(join(SDK, "README.md"), "utf8");
  for (const name of Object.keys(await import("../../dist/esm/index.js"))) assert.match(readme, new RegExp(`\\b${name}\\b`));
});
