// The result of `useMoorage`, over a link that a scripted peer closes.

import { deepStrictEqual, rejects, strictEqual } from "node:assert";
import { once } from "node:events";
import { test } from "node:test";

import { Server } from "socket.io";

import { negotiate, useAzureSocketIO, useMoorage } from "../../dist/esm/index.js";
import { next, within } from "../../../tests/node/lib/waiting.mjs";
import { Peer } from "./peer.mjs";

async function stage(t) {
  const peer = await Peer.start(t);
  const io = new Server();
  const made = useMoorage(io, { hub: "chat", connectionString: `Endpoint=${peer.endpoint};AccessKey=key;`, log: () => {} });
  const line = await peer.greeted();
  return { peer, io, line, moorage: await within(made, "the link") };
}

test("only the link uses the reverse proxy; the token names both addresses", async (t) => {
  const peer = await Peer.start(t);
  const io = new Server();
  const options = { hub: "chat", endpoint: "http://public.test", credential: { key: "key" }, reverseProxyEndpoint: peer.endpoint };
  const made = useAzureSocketIO(io, options);
  const line = await peer.greeted();
  await within(made, "the link");
  const [, claims] = line.request.headers.authorization.split(".");
  const tunnel = (host) => `ws://${host}/server/tunnel?hub=chat`;
  deepStrictEqual(JSON.parse(Buffer.from(claims, "base64url")).aud, [tunnel("public.test"), tunnel(new URL(peer.endpoint).host)]);
  let body;
  await negotiate(io)({}, { writeHead() {}, end: (text) => (body = JSON.parse(text)) });
  strictEqual(body.endpoint, "http://public.test");
  await io.close();
});

test("close with a drain also closes a server whose link is closed for good", async (t) => {
  const { io, line, moorage } = await stage(t);
  const closed = next(moorage, "closed");
  line.close(1001, "link-replaced");
  await closed;
  const engine = once(io.engine, "close");
  io.engine.close = () => io.engine.emit("close");
  await Promise.all([engine, moorage.close({ drain: 20_000 })]);
});

test("invalid timeouts are corrected, and do not affect other emits", async (t) => {
  const { io, line, moorage } = await stage(t);
  const asked = [-5, NaN, Infinity, 2.5, "20"].map((time) => io.timeout(time).fetchSockets());
  const failed = Promise.all(asked.map((one) => rejects(one, { reason: "link-closed" })));
  const [, , frames] = await line.numbered();
  strictEqual(frames.map((frame) => frame[3]).join(), `1,1,${2 ** 31 - 1},3,20`);
  const ended = moorage.close({ drain: Infinity });
  strictEqual((await line.numbered())[2][0][1], (2 ** 31 - 1) / 1000);
  await Promise.all([ended, failed]);
});

for (const [what, options, quietRecovery, granted, wanted] of [
  ["off", {}, true, 0, { asked: [0, false], option: undefined, lines: 0 }],
  ["on", { connectionStateRecovery: {} }, false, 60_000, { asked: [120_000, false], option: { maxDisconnectionDuration: 120_000, skipMiddlewares: true }, lines: 0 }],
  ["quiet", { connectionStateRecovery: { maxDisconnectionDuration: 0.5, skipMiddlewares: false } }, true, 1, { asked: [1, true], option: { maxDisconnectionDuration: 0.5, skipMiddlewares: false }, lines: 0 }],
  ["on, and off in the hub's settings", { connectionStateRecovery: {} }, false, 0, { asked: [120_000, false], option: undefined, lines: 1 }],
  ["off, and on in the hub's settings", {}, false, 5_000, { asked: [0, false], option: { maxDisconnectionDuration: 5_000, skipMiddlewares: false }, lines: 0 }],
])
  test(`connection state recovery: ${what}`, async (t) => {
    const peer = await Peer.start(t);
    const io = new Server(options);
    const lines = [];
    const made = useMoorage(io, { hub: "chat", connectionString: `Endpoint=${peer.endpoint};AccessKey=key;`, quietRecovery, log: (line) => lines.push(line) });
    const { hello } = await peer.greeted({ recovery: granted });
    const moorage = await within(made, "the link");
    deepStrictEqual(hello.slice(8, 10), wanted.asked);
    deepStrictEqual(io.opts.connectionStateRecovery, wanted.option);
    strictEqual(lines.filter((line) => line.startsWith("connectionStateRecovery has no effect")).length, wanted.lines);
    await moorage.close();
  });
