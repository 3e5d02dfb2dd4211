import assert from "node:assert/strict";
import { test } from "node:test";

import { Clients } from "../../dist/esm/engine/clients.js";
import { Engine } from "../../dist/esm/engine/engine.js";
import { Type } from "../../dist/esm/wire/frames.js";
import { Recorder } from "../support/recorder.mjs";

const handshake = (who) => JSON.stringify({ headers: { who: [who] }, query: {}, claims: {} });
const turn = () => new Promise(setImmediate);

function engine(options = {}) {
  const uplink = new Recorder();
  const made = new Engine(uplink, options, (error) => assert.fail(error), () => {});
  return { uplink, engine: made, clients: new Clients(made, uplink) };
}

test("a late decision of a middleware does not apply to a new client with the same number", async () => {
  const { uplink, engine: e, clients } = engine();
  const decide = {};
  e.use((request, _response, next) => (decide[request.headers.who] = next));
  const came = [];
  e.on("connection", ({ request }) => came.push(request.headers.who));
  clients.open(1, "a", null, handshake("old"));
  e.lost(uplink);
  clients.open(1, "b", null, handshake("new"));
  decide.old();
  await turn();
  assert.deepEqual([came, uplink.sent], [[], []]);
  decide.new();
  await turn();
  assert.deepEqual([came, uplink.sent.length], [["new"], 1]);
});

test("options that are not whole numbers still admit clients", () => {
  const { uplink, engine: e, clients } = engine({ maxHttpBufferSize: Infinity, pingInterval: 1500.5, pingTimeout: undefined });
  clients.open(1, "a", null, handshake("x"));
  assert.deepEqual(uplink.sent, [
    { type: Type.Opened, client: 1, pingInterval: 1501, pingTimeout: 20_000, maxPayload: Number.MAX_SAFE_INTEGER },
  ]);
});
