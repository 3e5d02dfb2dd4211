// The links to several nodes. Scripted nodes produce what real ones do not.

import { deepStrictEqual, ok, rejects, strictEqual } from "node:assert";
import { test } from "node:test";

import { next, poll } from "../../../tests/node/lib/waiting.mjs";
import { Peer, payload } from "./peer.mjs";

const to = { namespace: "/", rooms: [], excluded: [] };
const emit = (text) => ({ type: 10, ref: 0, to, flags: 0, payload: text });
const list = (version, ...peers) => [51, version, peers.map(({ node, endpoint }) => [node, `name ${node}`, endpoint, "", true])];

/** A fleet with a session at the peers "a" and "b". */
async function two(t, options = {}, fields = {}, fieldsOfA = {}) {
  const [a, b] = [Object.assign(await Peer.start(t), { node: "a" }), Object.assign(await Peer.start(t), { node: "b" })];
  const { link: fleet, line, handler } = await a.link(t, options, { node: "a", ...fieldsOfA });
  line.send([list(1, a, b)]);
  const other = await b.greeted({ node: "b", session: "B", ...fields });
  return { a, b, fleet, line, other, handler, hello: line.hello };
}

/** The next `count` frames. */
async function frames(line, count) {
  const read = [];
  while (read.length < count) {
    const [number, , some] = await line.numbered();
    read.push(...some);
    line.ack(number);
  }
  return read;
}

test("a new session is told first what is covered, and then gets the emits with the same numbers", async (t) => {
  const { fleet, line, other, hello } = await two(t);
  deepStrictEqual(await frames(other, 1), [[52, 1, false, true, ["a", "b"]]]);
  deepStrictEqual(await frames(line, 1), [[52, 1, true, false, ["a", "b"]]]);
  ok(other.request.url.endsWith("&node=b"), other.request.url);
  strictEqual(other.hello[7], hello[7], "the instance");
  fleet.send(emit("x"));
  fleet.sendVolatile(emit("y"));
  const both = [await frames(line, 2), await frames(other, 2)];
  deepStrictEqual(both.map((some) => some.map((frame) => [payload(frame), frame.at(-1)])), Array(2).fill([["x", 1], ["y", 2]]));
  deepStrictEqual(fleet.nodes.map(({ id, home, connected }) => [id, home, connected]), [["a", true, true], ["b", false, true]]);
});

test("events for app servers and lists go to the home alone, requests to all", async (t) => {
  const { fleet, line, other } = await two(t);
  await frames(other, 1);
  await frames(line, 1);
  fleet.send({ type: 40, ref: 0, namespace: "/", timeout: 0, payload: "event" });
  const listed = fleet.request((ref) => ({ type: 43, ref }));
  const fetched = fleet.request((ref) => ({ type: 30, ref, to, timeout: 9, others: true }));
  deepStrictEqual((await frames(line, 3)).map(([type]) => type), [40, 43, 30]);
  deepStrictEqual((await frames(other, 1)).map(([type]) => type), [30]);
  line.send([[44, 1, [["me", "moorage", true, 0]]], [14, 2, 1, []]]);
  other.send([[14, 2, 2, ["them"]]]);
  strictEqual((await listed).count, 1);
  deepStrictEqual([(await fetched).count, (await fetched).missing], [3, ["them"]]);
});

test("a session whose link is down for longer than the service keeps it is over: the home forwards to its node", async (t) => {
  const { b, line, other } = await two(t, {}, { grace: 50 });
  await frames(other, 1);
  await frames(line, 1);
  b.answer(503, {});
  other.cut();
  deepStrictEqual(await frames(line, 1), [[52, 2, true, false, ["a"]]]);
  b.answer(undefined);
  const back = await b.greeted({ node: "b", session: "B2" });
  strictEqual(back.hello[3], "", "no session to resume");
  deepStrictEqual(await frames(back, 1), [[52, 3, false, true, ["a", "b"]]]);
});

test("a lost home: another one is told so, and forwards again what the lost one had not taken", async (t) => {
  const { a, b, fleet, line, other } = await two(t);
  await frames(other, 1);
  await frames(line, 1);
  fleet.send(emit("taken"));
  await frames(line, 1);
  fleet.send(emit("sent"));
  const asked = fleet.request((ref) => ({ type: 11, ref, to, flags: 0, timeout: 9, payload: "ask" }));
  strictEqual((await line.numbered())[2].length, 2);
  strictEqual((await frames(other, 3)).length, 3);
  line.cut();
  a.answer(503, {});
  await poll(() => fleet.nodes.some(({ connected }) => !connected), "a link that is down");
  fleet.send(emit("queued"));
  strictEqual((await frames(other, 1)).length, 1);
  strictEqual(fleet.state, "up");
  const session = next(fleet, "session");
  other.send([list(2, b)]);
  await session;
  const [cover, ...again] = await frames(other, 4);
  deepStrictEqual(cover, [52, 2, true, false, ["b"]]);
  deepStrictEqual(again.map(([type, frame]) => [type, payload(frame), frame.at(-1)]), [[53, "sent", 2], [53, "ask", 3], [53, "queued", 4]]);
  other.send([[14, 1, 1, []]]);
  other.send([[14, 1, 2, []]]);
  deepStrictEqual([(await asked).count, (await asked).missing], [3, ["name a"]]);
});

test("a full queue gives one session up, and the emit reaches the others; with all full it fails", async (t) => {
  const { b, fleet, line, other } = await two(t, { maxQueueBytes: 100_000 });
  await frames(other, 1);
  await frames(line, 1);
  other.cut();
  await poll(() => fleet.nodes.some(({ connected }) => !connected), "a link that is down");
  const text = "x".repeat(30_000);
  const session = next(fleet, "session");
  for (let count = 0; count < 3; count += 1) {
    fleet.send(emit(text));
    await frames(line, 1);
  }
  fleet.send(emit(text));
  strictEqual((await session)[0].sessionId, "");
  deepStrictEqual((await frames(line, 2)).map(([type, term]) => [type, term]), [[10, 0], [52, 2]]);
  line.cut();
  await next(fleet, "lost");
  for (let count = 0; count < 3; count += 1) fleet.send(emit(text));
  await rejects(async () => fleet.send(emit(text)), { reason: "link-overflow" });
  const again = await b.greeted({ node: "b", session: "C" });
  strictEqual(again.hello[3], "");
});

test("the home and another node are given up together: the last node owes its own answer and the home's", async (t) => {
  const { a, b, fleet, line, other, handler } = await two(t, { maxQueueBytes: 100_000 }, { window: 1 }, { window: 1 });
  const c = Object.assign(await Peer.start(t), { node: "c" });
  line.send([list(2, a, b, c)]);
  const last = await c.greeted({ node: "c", session: "C" });
  for (const [each, count] of [[line, 2], [other, 2], [last, 1]]) await frames(each, count);
  // Both have credit again: the acknowledgements come before these packets.
  for (const each of [line, other]) {
    each.send([[4, 1, Buffer.from("behind the acknowledgements")]]);
    await handler.next();
  }
  // The first emit uses the credit of both, and three wait.
  for (let count = 0; count < 4; count += 1) {
    fleet.send(emit("x".repeat(30_000)));
    await frames(last, 1);
  }
  const asked = fleet.request((ref) => ({ type: 11, ref, to, flags: 0, timeout: 9, payload: "y".repeat(30_000) }));
  // The four emits that the home had not taken, and the request, are forwarded by the new home.
  const got = await frames(last, 8);
  deepStrictEqual(got.map(([type]) => type), [11, 52, 52, 53, 53, 53, 53, 53]);
  const ref = got[0][1];
  last.send([[12, ref, 1], [14, ref, 1, []], [12, ref, 2], [14, ref, 2, []]]);
  strictEqual((await asked).count, 3);
});

test("another node than the wanted one gets a farewell, and is not covered", async (t) => {
  const { b, fleet, line } = await two(t, {}, { node: "wrong" });
  strictEqual(fleet.nodes.length, 1);
  const again = await b.greeted({ node: "b", session: "B" });
  deepStrictEqual(await frames(again, 1), [[52, 1, false, true, ["a", "b"]]]);
  deepStrictEqual(await frames(line, 1), [[52, 1, true, false, ["a", "b"]]]);
});

test("clients of several nodes with the same number are told apart: a lost session names its link", async (t) => {
  const { b, fleet, line, other, handler } = await two(t);
  await frames(other, 1);
  await frames(line, 1);
  line.send([[4, 1, Buffer.from("at a")]]);
  deepStrictEqual(await handler.next(), ["packet", 1, "at a"]);
  other.send([[4, 1, Buffer.from("at b")]]);
  deepStrictEqual(await handler.next(), ["packet", 1, "at b"]);
  const session = next(fleet, "session");
  other.cut();
  const again = await b.greeted({ node: "b", session: "C" });
  const [lost] = await session;
  strictEqual(lost.sessionId, "C");
  deepStrictEqual(await frames(again, 1), [[52, 3, false, true, ["a", "b"]]]);
  deepStrictEqual(await frames(line, 2), [[52, 2, true, false, ["a"]], [52, 3, true, false, ["a", "b"]]]);
});

test("the endpoint leads to another node while no link is up: it is accepted, and lists who lives", async (t) => {
  const { a, fleet, line, other } = await two(t);
  const restored = next(fleet, "restored");
  line.cut();
  other.cut();
  const again = await a.greeted({ node: "c", session: "C" });
  again.send([list(1, { node: "c", endpoint: a.endpoint })]);
  deepStrictEqual(await restored, [false]);
  await poll(() => fleet.nodes.map(({ id }) => id).join() === "c", "one node");
});
