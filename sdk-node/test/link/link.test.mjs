// A link and a scripted peer: when the link sends what, and how it handles frames.

import { deepStrictEqual, match, ok, rejects, strictEqual, throws } from "node:assert";
import { test } from "node:test";

import { next, within } from "../../../tests/node/lib/waiting.mjs";
import { Peer, packet, payload } from "./peer.mjs";

const message = (client, text) => ({ type: 4, client, payload: text });

test("the hello has the SDK, the window and no session; the header has the token", async (t) => {
  const peer = await Peer.start(t);
  const { link, line } = await peer.link(t, { serverId: "me", sdk: "x/1", window: 70_000 });
  deepStrictEqual(line.hello.slice(0, 7), [0, 6, "x/1", "", 0, 70_000, false]);
  match(line.hello[7], /^[\w-]{16}$/);
  strictEqual(line.request.url, "/server/tunnel?hub=chat");
  match(line.request.headers.authorization, /^Bearer [\w-]+\.[\w-]+\.[\w-]+$/);
  strictEqual(line.request.headers["sec-websocket-extensions"], undefined);
  deepStrictEqual([link.serverId, link.sessionId, link.state, link.service.node], ["me", "S", "up", "N"]);
});

test("emits, asks and selection writes are numbered by one counter, other frames are not", async (t) => {
  const peer = await Peer.start(t);
  const { link, line } = await peer.link(t);
  const to = { namespace: "/", rooms: [], excluded: [] };
  link.send({ type: 10, ref: 0, to, flags: 0, payload: "a" });
  link.send(message(7, "b"));
  link.sendVolatile({ type: 10, ref: 0, to, flags: 1, payload: "c" });
  link.send({ type: 22, ref: 0, to, rooms: ["r"] });
  link.send({ type: 24, ref: 0, to, close: false });
  link.send({ type: 40, ref: 0, namespace: "/", timeout: 0, payload: "d" });
  const frames = (await line.batch())[2];
  deepStrictEqual(frames.map((frame) => [frame[0], frame.at(-1)]).filter(([type]) => type !== 4), [[10, 1], [10, 2], [22, 3], [24, 4], [40, 5]]);
  strictEqual(frames[1].length, 3);
});

test("frames of one turn leave as one batch, in order, numbered from 1", async (t) => {
  const peer = await Peer.start(t);
  const { link, line } = await peer.link(t);
  for (let i = 0; i < 100; i += 1) link.send(message(i, "a"));
  await Promise.resolve();
  link.send(message(100, "a"));
  const [number, ack, frames] = await line.batch();
  deepStrictEqual([number, ack, frames.map((frame) => frame[1])], [1, 0, [...Array(101).keys()]]);
  link.send(message(7, "b"));
  strictEqual((await line.batch())[0], 2);
});

test("each frame goes to its handler, in order; outgoing batches acknowledge it", async (t) => {
  const peer = await Peer.start(t);
  const { link, line, handler } = await peer.link(t);
  line.send([[1, 1, "c", null, Buffer.from("{}")], [1, 2, "d", "u", Buffer.from("{}")], packet(1, "40"), [8, 1, "/", true, ["r"]]]);
  line.send([[7, 1, "/"], [32, 9, "/", ["s"]], [41, 0, "o", "/", Buffer.from("2[]")], [50, 1.5], [5, 1, 1000, "left", "transport close"], [15, 0, 4009, "link-bad-request", "no"]]);
  while (handler.calls.length < 10) await handler.next();
  deepStrictEqual(handler.calls, [
    ["open", 1, "c", null, "{}"],
    ["open", 2, "d", "u", "{}"],
    ["packet", 1, "40"],
    ["moved", 1, "/", true, ["r"]],
    ["left", 1, "/"],
    ["query", 9, "/", ["s"]],
    ["told", 0, "o", "/", "2[]"],
    ["drain", 1.5],
    ["closed", 1, 1000, "left", "transport close"],
    ["failed", { type: 15, ref: 0, number: 4009, reason: "link-bad-request", message: "no" }],
  ]);
  link.send(message(1, "x"));
  strictEqual((await line.batch())[1], 2);
});

test("a quarter of the window is acknowledged at once, less within a second", async (t) => {
  const peer = await Peer.start(t);
  const { line } = await peer.link(t, { window: 100_000 });
  line.send([packet(1, "x".repeat(20_000))]);
  line.send([packet(1, "x".repeat(6_000))]);
  deepStrictEqual(await line.batch(), Object.assign([0, 2, []], { size: 4 }));
  const sent = performance.now();
  line.send([packet(1, "x")]);
  deepStrictEqual((await line.batch()).slice(0, 3), [0, 3, []]);
  const waited = performance.now() - sent;
  ok(waited > 5 && waited < 5000, `${waited} ms`);
});

test("an exception in a handler becomes an error event; later frames are handled", async (t) => {
  const peer = await Peer.start(t);
  const { link, line, handler } = await peer.link(t);
  const { packet: record } = handler;
  handler.packet = (client, text) => {
    if (text === "bad") throw new Error("mine");
    record(client, text);
  };
  const errors = next(link, "error");
  line.send([packet(1, "a"), packet(1, "bad"), packet(1, "b")]);
  strictEqual((await errors)[0].message, "mine");
  deepStrictEqual(handler.calls, [["packet", 1, "a"], ["packet", 1, "b"]]);
  strictEqual(link.state, "up");
});

test("requests: parts in order, then the end; several at a time", async (t) => {
  const peer = await Peer.start(t);
  const { link, line } = await peer.link(t);
  const to = { namespace: "/", rooms: [], excluded: [] };
  const parts = [];
  const ask = link.request((ref) => ({ type: 11, ref, to, flags: 0, timeout: 100, payload: "2[]" }), {
    onPart: (part) => parts.push(part),
  });
  const join = link.request((ref) => ({ type: 22, ref, to, rooms: ["r"] }));
  const list = link.request((ref) => ({ type: 43, ref }), { onPart: (part) => parts.push(part.rows) });
  const refs = (await line.batch())[2].map((frame) => frame[1]);
  deepStrictEqual(refs, [1, 2, 3]);
  line.send([[14, 2, 7], [12, 1, 2], [13, 1, "s", Buffer.from("30[]")], [44, 3, [["a", "azure", true, 4]]], [14, 1, 1, ["z"]]]);
  deepStrictEqual(await ask, { type: 14, ref: 1, count: 1, missing: ["z"] });
  deepStrictEqual(await join, { type: 14, ref: 2, count: 7, missing: [] });
  deepStrictEqual(await list, { type: 14, ref: 3, count: 1, missing: [] });
  deepStrictEqual(parts, [
    { type: 12, ref: 1, count: 2 },
    { type: 13, ref: 1, sender: "s", payload: "30[]" },
    [{ id: "a", dialect: "azure", up: true, clients: 4 }],
  ]);
});

test("requests fail with the service's reason, or with their timeout", async (t) => {
  const peer = await Peer.start(t);
  const { link, line, handler } = await peer.link(t);
  const failing = link.request((ref) => ({ type: 43, ref }));
  // Somebody listens from the beginning: it may be late before the batch is here.
  const late = rejects(link.request((ref) => ({ type: 43, ref }), { timeout: 20 }), { reason: "request-timeout" });
  await line.batch();
  line.send([[15, 1, 4009, "link-bad-request", "no such thing"]]);
  await rejects(failing, { name: "MoorageError", reason: "link-bad-request", number: 4009, message: "no such thing" });
  await late;
  line.send([[44, 2, []], packet(1, "after")]);
  deepStrictEqual(await handler.next(), ["packet", 1, "after"]);
});

test("with a full queue, volatile frames are dropped and others are refused", async (t) => {
  const peer = await Peer.start(t);
  const { link } = await peer.link(t, { maxQueueBytes: 2000 });
  const taken = [1, 2, 3].map((client) => link.sendVolatile(message(client, "x".repeat(900))));
  deepStrictEqual(taken, [true, true, false]);
});

test("credit: frames beyond the window wait, up to maxQueueBytes", async (t) => {
  const peer = await Peer.start(t);
  const { link, line } = await peer.link(t, { maxQueueBytes: 5000 }, { window: 2500 });
  const body = "x".repeat(990);
  for (let i = 0; i < 3; i += 1) {
    link.send(message(i, body));
    await new Promise(setImmediate);
  }
  strictEqual(link.queuedBytes, 0, "the batch that crosses the line leaves");
  strictEqual(link.sendVolatile(message(9, "v")), false);
  for (let i = 3; i < 8; i += 1) link.send(message(i, body));
  throws(() => link.send(message(8, body)), { reason: "link-overflow", message: /maxQueueBytes/ });
  await rejects(link.request((ref) => ({ type: 40, ref, namespace: "/", timeout: 1, payload: body })), { reason: "link-overflow" });
  // Frames that open a client are accepted even if the queue is full.
  link.send({ type: 4, client: 9, payload: `40{"sid":"${"x".repeat(20_000)}"}` });
  throws(() => link.send(message(8, "x")), { reason: "link-overflow" });
  link.send({ type: 6, client: 9 });
  for (const number of [1, 2, 3]) strictEqual((await line.batch())[0], number);
  deepStrictEqual(line.others, []);
  line.ack(3);
  const [number, , frames] = await line.batch();
  deepStrictEqual([number, frames.map((frame) => frame[1])], [4, [3, 4, 5, 6, 7, 9, 9]]);
  strictEqual(link.queuedBytes, 0);
  line.ack(4);
  await within(volatileTaken(link), "credit");
});

/** No event announces an acknowledgement. */
async function volatileTaken(link) {
  while (!link.sendVolatile(message(9, "v"))) await new Promise(setImmediate);
}

test("volatile frames of one turn count against the credit before they leave", async (t) => {
  const peer = await Peer.start(t);
  const { link } = await peer.link(t, {}, { window: 2000 });
  let taken = 0;
  while (link.sendVolatile(message(1, "x".repeat(100)))) taken += 1;
  ok(taken >= 18 && taken <= 20, String(taken));
});

test("a frame larger than the service accepts is refused at once", async (t) => {
  const peer = await Peer.start(t);
  const { link, line } = await peer.link(t, {}, { maxBatch: 5000 });
  throws(() => link.send(message(1, "x".repeat(5000))), { reason: "link-frame-too-large", number: 4003 });
  link.send(message(1, "fine"));
  strictEqual(payload((await line.batch())[2][0]), "fine");
});

test("keep-alive: an idle link still sends", async (t) => {
  const peer = await Peer.start(t);
  const { line } = await peer.link(t, {}, { keepalive: 60 });
  const start = performance.now();
  for (let i = 0; i < 3; i += 1) {
    deepStrictEqual((await line.batch()).slice(0, 3), [0, 0, []]);
    line.ack(0);
  }
  ok(performance.now() - start < 5000);
});

test("keep-alive: after a silent service the link reconnects", async (t) => {
  const peer = await Peer.start(t);
  const { link, line } = await peer.link(t, {}, { keepalive: 40 });
  const [cause] = await next(link, "lost");
  strictEqual(cause.reason, "link-silent");
  await line.closed;
  const restored = next(link, "restored");
  const again = await peer.greeted({ resumed: true });
  deepStrictEqual(again.hello.slice(3), ["S", 0, 4 << 20, false, line.hello[7], 0, false, false]);
  deepStrictEqual(await restored, [true]);
  strictEqual(link.state, "up");
});

test("close: asks for no clients, sends the queue, closes the WebSocket", async (t) => {
  const peer = await Peer.start(t);
  const { link, line } = await peer.link(t);
  link.send(message(1, "last"));
  const closed = next(link, "closed");
  const done = link.close();
  const [, , frames] = await line.batch();
  deepStrictEqual([payload(frames[0]), frames[1][0]], ["last", 50]);
  deepStrictEqual(await line.closed, { code: 1000, reason: "" });
  await done;
  deepStrictEqual(await closed, [undefined]);
  strictEqual(link.state, "closed");
  throws(() => link.send(message(1, "late")), { reason: "link-closed" });
  strictEqual(link.sendVolatile(message(1, "late")), false);
  await rejects(link.request((ref) => ({ type: 43, ref })), { reason: "link-closed" });
  await link.close();
});

test("close: waits for credit, but no longer than its drain time", async (t) => {
  const peer = await Peer.start(t);
  const { link, line } = await peer.link(t, {}, { window: 1 });
  link.send(message(1, "first"));
  await line.batch();
  link.send(message(2, "second"));
  const unanswered = link.request((ref) => ({ type: 43, ref }));
  const done = Promise.all([link.close({ drain: 30 }), rejects(unanswered, { reason: "link-closed" })]);
  strictEqual((await line.closed).code, 1000);
  await done;
  deepStrictEqual(line.others, []);
});

test("close: waits until credit empties the queue", async (t) => {
  const peer = await Peer.start(t);
  const { link, line } = await peer.link(t, {}, { window: 1 });
  link.send(message(1, "first"));
  await line.batch();
  link.send(message(2, "second"));
  const done = link.close({ drain: 10_000 });
  line.ack(1);
  strictEqual(payload((await line.batch())[2][0]), "second");
  strictEqual((await line.closed).code, 1000);
  await done;
});

test("the process is not kept alive by a closed link", async (t) => {
  const peer = await Peer.start(t);
  const timers = () => process.getActiveResourcesInfo().filter((name) => name === "Timeout").length;
  const before = timers();
  const { link } = await peer.link(t);
  await link.close();
  strictEqual(link.listenerCount("closed"), 0);
  ok(timers() <= before, "the link has left a timer");
});
