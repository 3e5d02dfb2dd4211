// Patterns that the sources must not contain.

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";

const SOURCES = new URL("../../src/", import.meta.url);

/** The lines of all sources that match, with the file's name; without comments. */
function lines(pattern) {
  const files = readdirSync(SOURCES, { recursive: true }).filter((name) => name.endsWith(".ts"));
  assert.ok(files.length > 30);
  return files.flatMap((name) => {
    const code = readFileSync(new URL(name, SOURCES), "utf8").split("\n");
    return code.filter((line) => pattern.test(line) && !/^\s*(\/\/|\/?\*)/.test(line)).map((line) => `${name}: ${line.trim()}`);
  });
}

for (const [what, pattern] of [
  ["for...in walks over members of Object.prototype", /\bfor\s*(await\s*)?\([^)]*\bin\b/],
  ["`in` finds members of Object.prototype", /["'\w\])]\s+in\s+[\w(]+\)?\s*[?)&|;]/],
  ["an object literal as a map has `constructor` in it", /:\s*(Readonly<)?Record<[^=]*=\s*\{/],
  ["Object.assign takes `__proto__` for a prototype", /\bObject\.assign\((?!new |request,)/],
])
  test(`[repair 20] ${what}`, () => assert.deepEqual(lines(pattern), []));
