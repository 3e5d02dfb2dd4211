// Broken links, with a scripted peer: what is sent again, what is received twice, when a session is lost.

import { deepStrictEqual, ok, rejects, strictEqual } from "node:assert";
import { test } from "node:test";

import { next } from "../../../tests/node/lib/waiting.mjs";
import { Peer, packet, payload } from "./peer.mjs";

const message = (client, text) => ({ type: 4, client, payload: text });

test("resume: unread batches are sent again unchanged, then the queue", async (t) => {
  const peer = await Peer.start(t);
  const { link, line, handler } = await peer.link(t);
  const batches = [];
  for (const text of ["one", "two", "three"]) {
    link.send(message(1, text));
    batches.push(await line.batch());
  }
  line.send([packet(1, "in")]);
  await handler.next();
  const lost = next(link, "lost");
  line.cut();
  await lost;
  strictEqual(link.state, "lost");
  link.send(message(1, "four"));
  strictEqual(link.sendVolatile(message(1, "not this")), false);
  const restored = next(link, "restored");
  const again = await peer.greeted({ resumed: true, received: 1 });
  deepStrictEqual(again.hello.slice(3, 5), ["S", 1]);
  deepStrictEqual([await again.batch(), await again.batch()], batches.slice(1));
  const [number, ack, [frame]] = await again.batch();
  deepStrictEqual([number, ack, payload(frame)], [4, 1, "four"]);
  deepStrictEqual(await restored, [true]);
});

test("resume: a repeated batch is not handled again", async (t) => {
  const peer = await Peer.start(t);
  const { handler, line } = await peer.link(t);
  line.send([packet(1, "a")]);
  line.send([packet(1, "b")]);
  await handler.next();
  await handler.next();
  line.cut();
  const again = await peer.greeted({ resumed: true });
  again.send([packet(1, "a")], { number: 1 });
  again.send([packet(1, "b")]);
  again.send([packet(1, "c")]);
  deepStrictEqual(await handler.next(), ["packet", 1, "c"]);
  strictEqual(handler.calls.length, 3);
});

test("resume: a request from before the cut is answered after it", async (t) => {
  const peer = await Peer.start(t);
  const { link, line } = await peer.link(t);
  const asked = link.request((ref) => ({ type: 43, ref }));
  await line.batch();
  line.cut();
  const again = await peer.greeted({ resumed: true, received: 1 });
  again.send([[44, 1, []]]);
  strictEqual((await asked).count, 0);
});

test("a link that breaks again and again is back within the grace time", async (t) => {
  const peer = await Peer.start(t);
  const grace = 2_000;
  let { line } = await peer.link(t, {}, { grace });
  for (let cuts = 0; cuts < 12; cuts += 1) {
    const before = performance.now();
    line.cut();
    line = await peer.greeted({ resumed: true, grace });
    strictEqual(line.hello[3], "S");
    ok(performance.now() - before < grace, `${cuts}: ${performance.now() - before}`);
  }
});

test("the first attempt after a cut comes soon, later ones with longer delays", async (t) => {
  const peer = await Peer.start(t);
  const { link, line } = await peer.link(t);
  const lost = next(link, "lost");
  line.cut();
  await lost;
  let before = performance.now();
  const waits = [];
  for (let i = 0; i < 4; i += 1) {
    const attempt = await peer.line();
    waits.push(performance.now() - before);
    before = performance.now();
    attempt.cut();
  }
  ok(waits[3] > 200 && Math.min(...waits) < waits[3], String(waits));
});

test("session lost: old clients end, requests fail, and only unsent frames without a client or question are sent", async (t) => {
  const peer = await Peer.start(t);
  const { link, line, handler } = await peer.link(t);
  const order = [];
  link.on("session", (session) => {
    order.push(`session ${session.sessionId}`);
    link.send(message(1, "for a client that is no more"));
    link.send({ type: 42, ref: 1, payload: "in answer to what nobody asks any more" });
    link.send({ type: 40, ref: 0, namespace: "/", timeout: 0, payload: "to the others" });
    const enter = session.request((ref) => ({ type: 20, ref, client: 1, namespace: "/", rooms: ["r"] }));
    late = rejects(enter, { reason: "session-lost" });
  });
  let late;
  link.on("restored", (resumed) => order.push(`restored ${resumed} ${link.sessionId}`));
  link.send(message(1, "taken by nobody"));
  const asked = link.request((ref) => ({ type: 43, ref }));
  await line.batch();
  const lost = next(link, "lost");
  line.cut();
  await lost;
  link.send(message(1, "queued"));
  link.send({ type: 10, ref: 0, to: { namespace: "/", rooms: [], excluded: [] }, flags: 0, payload: "to all" });
  const unheard = link.request((ref) => ({ type: 40, ref, namespace: "/", timeout: 9, payload: "a question" }));
  const given = rejects(unheard, { reason: "session-lost" });
  const restored = next(link, "restored");
  const again = await peer.greeted({ session: "T", resumed: false });
  await given;
  await rejects(asked, { reason: "session-lost" });
  await restored;
  deepStrictEqual(order, ["session T", "restored false T"]);
  await late;
  link.send(message(1, "new"));
  const frames = [];
  for (let count = 1; frames.length < 3; count += 1) {
    const [number, ack, come] = await again.batch();
    deepStrictEqual([number, ack], [count, 0]);
    frames.push(...come);
  }
  deepStrictEqual(frames.map(payload), ["to all", "to the others", "new"]);
  again.send([packet(1, "numbers begin again")]);
  deepStrictEqual(await handler.next(), ["packet", 1, "numbers begin again"]);
});

test("a listener's exception does not close the link", async (t) => {
  const peer = await Peer.start(t);
  const { link, line } = await peer.link(t);
  link.on("session", () => {
    throw new Error("mine");
  });
  const error = next(link, "error");
  line.cut();
  await peer.greeted({ session: "T", resumed: false });
  strictEqual((await error)[0].message, "mine");
  strictEqual(link.state, "up");
});

test("closed while lost: no further attempt", async (t) => {
  const peer = await Peer.start(t);
  const { link, line } = await peer.link(t);
  const asked = link.request((ref) => ({ type: 43, ref }));
  const lost = next(link, "lost");
  line.cut();
  await lost;
  const failed = rejects(asked, { reason: "link-closed" });
  await link.close({ drain: 0 });
  await failed;
  strictEqual(link.state, "closed");
});

test("closed while lost: waits up to its drain time for the link, and sends the queue", async (t) => {
  const peer = await Peer.start(t);
  const { link, line } = await peer.link(t);
  const lost = next(link, "lost");
  line.cut();
  await lost;
  link.send(message(1, "last"));
  const done = link.close({ drain: 10_000 });
  const again = await peer.greeted({ resumed: true });
  strictEqual(payload((await again.numbered())[2][0]), "last");
  strictEqual((await again.closed).code, 1000);
  await done;
});

for (const [what, act] of [
  ["bytes that are no batch", (line) => line.bytes(Buffer.from("nonsense"))],
  ["text", (line) => line.bytes("[0,0,[]]")],
  ["a gap in the numbers", (line) => line.send([], { number: 3 })],
  ["an ack of what was never sent", (line) => line.ack(1)],
  ["frames without a number", (line) => line.send([packet(1, "x")], { number: 0 })],
  ["a second hello", (line) => line.send([[0, 1, "p", "S", false, 0, 1, 1, 1, 1, "h", "n"]])],
])
  test(`${what}: the link closes with 1002, handles nothing of it, and starts a new session`, async (t) => {
    const peer = await Peer.start(t);
    const { link, line, handler } = await peer.link(t);
    const lost = next(link, "lost");
    act(line);
    deepStrictEqual(await line.closed, { code: 1002, reason: "link-bad-frame" });
    strictEqual((await lost)[0].reason, "link-bad-frame");
    // Resuming the session would bring the same bytes again.
    strictEqual((await peer.greeted({ session: "T" })).hello[3], "");
    deepStrictEqual(handler.calls, []);
  });

test("replaced by another process: closed for good", async (t) => {
  const peer = await Peer.start(t);
  const { link, line } = await peer.link(t, { serverId: "twin" });
  const closed = next(link, "closed");
  line.close(1001, "link-replaced");
  const [cause] = await closed;
  deepStrictEqual([cause.reason, cause.number, link.state], ["link-replaced", 4011, "closed"]);
});

test("a proxy's error while the service restarts is not final", async (t) => {
  const peer = await Peer.start(t);
  const { link, line } = await peer.link(t);
  peer.answer(404, "<h1>no such backend</h1>");
  line.cut();
  await peer.refused();
  peer.answer(undefined);
  const restored = next(link, "restored");
  await peer.greeted({ resumed: true });
  deepStrictEqual(await restored, [true]);
});

test("a final refusal while lost closes the link, with the cause", async (t) => {
  const peer = await Peer.start(t);
  const { link, line } = await peer.link(t);
  const closed = next(link, "closed");
  peer.answer(401, { number: 3003, reason: "token-signature", message: "wrong" });
  line.cut();
  const [cause] = await closed;
  strictEqual(cause.reason, "token-signature");
  await rejects(link.request((ref) => ({ type: 43, ref })), { reason: "link-closed", message: /access key/ });
});
