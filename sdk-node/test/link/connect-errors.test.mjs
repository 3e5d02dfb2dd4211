// All failures of a first connect: it rejects at once, and names cause and remedy.

import { ok, rejects, strictEqual } from "node:assert";
import { createServer } from "node:net";
import { once } from "node:events";
import { test } from "node:test";

import { Fleet } from "../../dist/esm/link/fleet.js";
import { unreachable } from "../../dist/esm/link/errors/connect.js";
import { next } from "../../../tests/node/lib/waiting.mjs";
import { Peer, Recorder } from "./peer.mjs";

const connect = (endpoint, options = {}) => Fleet.connect({ endpoint, key: "key", hub: "chat", handlerOf: () => new Recorder(), ...options });

async function refusedWith(t, status, body, headers = {}) {
  const peer = await Peer.start(t);
  peer.answer(status, body, headers);
  return connect(peer.endpoint).then(
    () => ok(false, "it was let in"),
    (error) => {
      strictEqual(error.name, "MoorageError");
      ok(error.message.includes(peer.endpoint), error.message);
      return error;
    },
  );
}

const ours = (reason, number, message = "…") => ({ reason, number, message, code: 3 });

for (const [status, reason, number, text] of [
  [401, "token-signature", 3003, /access key is wrong/],
  [401, "token-audience", 3006, /public_endpoint/],
  [404, "unknown-hub", 2107, /hub's name, "chat"/],
  [400, "link-unknown-dialect", 4005, /older Moorage/],
  [404, "unknown-path", 2108, /older Moorage/],
  [400, "something-new", 4999, /said so/],
])
  test(`${reason}: final, and says what to do`, async (t) => {
    const error = await refusedWith(t, status, ours(reason, number, "said so"));
    strictEqual(error.reason, reason);
    strictEqual(error.number, number);
    strictEqual(error.retry, false);
    ok(text.test(error.message) && error.message.includes("said so"), error.message);
  });

for (const [offset, text] of [
  [90, /clock is (\d+) seconds behind/],
  [-300, /clock is (\d+) seconds ahead of/],
])
  test(`clocks that differ by ${offset} s: the error names the difference`, async (t) => {
    const date = new Date(Date.now() + offset * 1000).toUTCString();
    const error = await refusedWith(t, 401, ours("token-expired", 3004), { date });
    // The header has whole seconds, and the answer takes some time on a busy machine.
    const [, seconds] = text.exec(error.message) ?? [error.message];
    ok(Math.abs(Number(seconds) - Math.abs(offset)) < 25, error.message);
    strictEqual(error.retry, false);
  });

test("clocks that differ, and no Date to compare with", async (t) => {
  const error = await refusedWith(t, 401, ours("token-not-yet", 3005), { date: null });
  ok(/clocks .* differ/.test(error.message), error.message);
});

for (const [status, body, reason, retry, text, headers] of [
  [404, "<h1>Not Found</h1>", "not-moorage", false, /path of Endpoint/],
  [200, "<h1>Welcome</h1>", "not-moorage", false, /instead of opening a WebSocket/],
  [426, "Upgrade Required", "not-moorage", false, /WebSocket upgrades/],
  [401, "", "not-moorage", false, /other credentials/],
  [302, "", "link-redirected", false, /https:\/\/else\.where/, { location: "https://else.where/" }],
  [502, "Bad Gateway", "service-unavailable", true, /proxy/],
  [503, JSON.stringify(ours("draining", 1100)), "draining", true, /refused/],
  [429, "slow down", "service-unavailable", true, /429/],
])
  test(`${status} ${body.slice(0, 12)}: ${reason}`, async (t) => {
    const error = await refusedWith(t, status, body, headers);
    strictEqual(error.reason, reason);
    strictEqual(error.retry, retry);
    ok(text.test(error.message), error.message);
  });

test("an endless error page is read only in part", async (t) => {
  const error = await refusedWith(t, 404, "x".repeat(10 << 20));
  strictEqual(error.reason, "not-moorage");
});

test("a WebSocket without the subprotocol, as an older Moorage or Azure opens it", async (t) => {
  const peer = await Peer.start(t, { protocols: () => false });
  await rejects(connect(peer.endpoint), { reason: "link-unknown-dialect", message: /older Moorage.*Azure's package/ });
});

test("nothing listens there", async (t) => {
  const peer = await Peer.start(t);
  peer.stop();
  await rejects(connect(peer.endpoint), { reason: "service-unreachable", retry: true, message: /is Moorage running there.*ECONNREFUSED/ });
});

test("an unknown host", async () => {
  await rejects(connect("http://nobody.invalid"), { reason: "service-unreachable", message: /host name .* not known/ });
});

test("https: to a plain HTTP server", async (t) => {
  const peer = await Peer.start(t);
  const error = { reason: "service-unreachable", retry: false, message: /scheme be http:/ };
  await rejects(connect(peer.endpoint.replace("http:", "https:")), error);
});

for (const [code, text] of [
  ["DEPTH_ZERO_SELF_SIGNED_CERT", /NODE_EXTRA_CA_CERTS/],
  ["UNABLE_TO_VERIFY_LEAF_SIGNATURE", /not trusted/],
  ["ERR_TLS_CERT_ALTNAME_INVALID", /other host names/],
  ["CERT_HAS_EXPIRED", /renew it/],
])
  test(`a certificate with ${code}`, () => {
    const error = unreachable({ endpoint: "https://x" }, Object.assign(new Error("no"), { code }));
    ok(text.test(error.message) && error.message.includes("https://x"), error.message);
    strictEqual(error.retry, false);
  });

test("a server that closes the connection, and one that never answers", async (t) => {
  for (const [answer, connectTimeout, error] of [
    [(socket) => socket.destroy(), 5000, { reason: "service-unreachable", message: /without an answer/ }],
    [() => {}, 50, { reason: "link-timeout", message: /within 50 ms/ }],
  ]) {
    const sockets = new Set();
    const server = createServer((socket) => {
      sockets.add(socket.on("error", () => {}));
      answer(socket);
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    t.after(() => {
      for (const socket of sockets) socket.destroy();
      server.close();
    });
    await rejects(connect(`http://127.0.0.1:${server.address().port}`, { connectTimeout }), error);
  }
});

test("a service that accepts the link and never sends a hello", async (t) => {
  const peer = await Peer.start(t);
  await rejects(connect(peer.endpoint, { connectTimeout: 50 }), { reason: "link-timeout", retry: true });
});

for (const [reason, text] of [
  ["link-server-taken", /id "me"/],
  ["link-version", /another version/],
  ["link-bad-frame", /both versions/],
])
  test(`a hello answered with ${reason}`, async (t) => {
    const peer = await Peer.start(t);
    const failed = rejects(connect(peer.endpoint, { serverId: "me" }), { reason, message: text });
    const line = await peer.line();
    await line.batch();
    line.close(1008, reason);
    await failed;
  });

test("an invalid hello", async (t) => {
  const peer = await Peer.start(t);
  const failed = rejects(connect(peer.endpoint), { reason: "link-bad-frame" });
  const line = await peer.line();
  line.raw([0, 0, [[50]]]);
  await failed;
});

for (const [options, text] of [
  [{ hub: "" }, /"hub"/],
  [{ key: "" }, /"key"/],
  [{ serverId: "x".repeat(129) }, /"serverId" .*128/],
  [{ serverId: 7 }, /"serverId" must be a string/],
  [{ window: 1 }, /"window".*65536/],
  [{ maxQueueBytes: 1.5 }, /"maxQueueBytes"/],
  [{ endpoint: "localhost:8080" }, /http:\/\/HOST:PORT/],
])
  test(`options: ${JSON.stringify(options).slice(0, 40)}`, () =>
    rejects(connect("http://127.0.0.1:1", options), { name: "MoorageError", message: text }));

test("retryFirst: retries until the service is up, but not after a wrong key", async (t) => {
  const peer = await Peer.start(t);
  peer.answer(503, "");
  const made = connect(peer.endpoint, { retryFirst: true });
  await peer.refused();
  await peer.refused();
  peer.answer(undefined);
  await peer.greeted();
  const link = await made;
  const closed = next(link, "closed");
  await link.close();
  await closed;
  peer.answer(401, ours("token-signature", 3003));
  await rejects(connect(peer.endpoint, { retryFirst: true }), { reason: "token-signature" });
});
