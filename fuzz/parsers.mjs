// What socket.io's own parsers make of a payload: one JSON line in, one out, for `fuzz/parsers.py`.

import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const require = createRequire(new URL("../tests/node/package.json", import.meta.url));
const { decodePayload } = require("engine.io-parser");
const { Decoder } = require("socket.io-parser");

/** The headers of all Socket.IO packets in `payload`. Attachments are dropped. */
function headers(payload) {
  const found = [];
  for (const { type, data } of decodePayload(payload, "nodebuffer")) {
    if (type === "error") throw new Error(data);
    if (type !== "message" || typeof data !== "string") continue;
    const { type: kind, nsp, id, attachments } = new Decoder().decodeString(data);
    found.push([kind, nsp, id === undefined ? null : String(id), attachments ?? 0]);
  }
  return found;
}

for await (const line of createInterface({ input: process.stdin })) {
  let answer;
  try {
    answer = headers(JSON.parse(line));
  } catch {
    answer = null;
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
