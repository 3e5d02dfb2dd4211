// The adapter's parts without a server.

import assert from "node:assert/strict";
import { inspect } from "node:util";
import { test } from "node:test";

import { Server } from "socket.io";
import { Encoder, PacketType } from "socket.io-parser";

import { encodePacket, namePaths, PacketReader, standard } from "../../dist/esm/adapter/encoding.js";
import { factsOf, ServerFacts } from "../../dist/esm/adapter/facts.js";
import { FetchCollector, missingServers } from "../../dist/esm/adapter/fetching.js";
import { Membership } from "../../dist/esm/adapter/membership.js";
import { ClusterSocket } from "../../dist/esm/adapter/remote.js";
import { flagsOf, selection } from "../../dist/esm/adapter/selection.js";
import { receiveServerEvent, sendServerEvent } from "../../dist/esm/adapter/server-events.js";
import { explain } from "../../dist/esm/adapter/unserialisable.js";
import { Type } from "../../dist/esm/wire/frames.js";
import { Recorder } from "../support/recorder.mjs";

const row = (id, server, rest = {}) => ({ id, connection: "c", user: null, server, opened: 5, rooms: [], handshake: "", shared: 0, ...rest });

test("a selection contains strings, and its flags are bits", () => {
  const options = { rooms: new Set(["a", 5]), except: new Set(["b"]), flags: { volatile: true, local: true } };
  assert.deepEqual(selection("/n", options), { namespace: "/n", rooms: ["a", "5"], excluded: ["b"] });
  assert.deepEqual(selection("/", { rooms: new Set() }), { namespace: "/", rooms: [], excluded: [] });
  assert.deepEqual([flagsOf(options), flagsOf({}), flagsOf({ flags: { compress: true } })], [3, 0, 0]);
});

test("while a change is pending, earlier changes of others are ignored", () => {
  const membership = new Membership();
  const first = membership.begin("s", ["a", "b"]);
  const second = membership.begin("s", ["a"]);
  assert.deepEqual(membership.settled("s", ["a", "b", "c"]), ["c"]);
  assert.deepEqual(membership.settled("t", ["a"]), ["a"]);
  first();
  first();
  assert.deepEqual(membership.settled("s", ["a", "b"]), ["b"]);
  second();
  assert.deepEqual(membership.settled("s", ["a", "b"]), ["a", "b"]);
});

test("packets survive a round trip; a broken one does not affect the next", () => {
  const reader = new PacketReader(standard.decoder);
  const packet = { type: 2, nsp: "/n", data: ["a", { b: Buffer.from([1]) }, ...Array(20).fill(Buffer.from([2]))] };
  const text = encodePacket(standard.encoder, packet);
  for (const broken of [text.slice(0, text.lastIndexOf("\x1e")), "4nonsense", "", "bAAAA"])
    assert.throws(() => reader.read(broken));
  assert.deepEqual(reader.read(text).data, packet.data);
});

/** Packets that a peer may send, although no encoder produces them. */
const ODD_PACKETS = ["", "4", "b", "43", "437", "43{}", '43"x"', "43null", "43[", "40", "41", "42", "44", "45", "461-", "461-7", "460-7[]"]
  .concat('461-7[{"_placeholder":true,"num":5}]\x1ebAA==', "437[]\x1e437[]", "437[]\x1e461-7[]", "437[]\x1ebAA==", `43${"[".repeat(50_000)}`);

test("[repair 1] a packet of any shape is decoded or rejected, and does not affect the next", () => {
  const reader = new PacketReader(standard.decoder);
  for (const odd of ODD_PACKETS) {
    for (const type of [PacketType.ACK, PacketType.EVENT]) {
      const read = reader.arguments(type, odd);
      assert.ok(read === undefined || Array.isArray(read), odd);
    }
    assert.deepEqual(reader.arguments(PacketType.ACK, '437["fine"]'), ["fine"], odd);
  }
  for (const empty of ["437", "461-7\x1ebAA=="]) assert.deepEqual(reader.arguments(PacketType.ACK, empty), []);
});

test("an encoder names the path, and does not change other errors", () => {
  const encoder = new Encoder();
  namePaths(encoder);
  const event = (...data) => ({ type: 2, nsp: "/", data });
  const circle = { up: {} };
  circle.up.down = [circle];
  for (const [data, message] of [
    [["e", { "odd key": [0, 1n] }], /: cannot be sent: "e", argument 1, .odd key\[1\] is a BigInt$/],
    [["e", 0, circle], /argument 2, .up.down\[0\] is a circular reference/],
    [["e", { at: new Date(0), n: { toJSON: () => ({ x: 2n }) } }], /argument 1, .n.toJSON\(\).x is a BigInt/],
    [["e", new Blob([])], /argument 1 is a Blob/],
  ])
    assert.throws(() => encoder.encode(event(...data)), message);
  const own = new RangeError("mine");
  assert.equal(explain(own, ["e", { fine: [1, null, "x"] }]), own);
  assert.throws(() => encoder.encode(event("e", { toJSON() { throw own; } })), own);
  // The same object twice is not a circular reference.
  const twice = { a: 1 };
  assert.deepEqual(encoder.encode(event("e", twice, [twice])), ['2["e",{"a":1},[{"a":1}]]']);
});

test("facts contain a socket's data and auth", () => {
  const socket = (data, auth) => ({ data, handshake: { auth } });
  const sockets = new Map([
    ["a", socket({ n: 1 }, { t: 2 })],
    ["b", socket({}, {})],
    ["c", socket({}, { t: 2 })],
    ["d", socket({ n: 1n }, {})],
    ["e", socket(null, {})],
    ["f", socket(0, {})],
  ]);
  const reported = [];
  const told = factsOf(sockets, [...sockets.keys(), "gone"], (error) => reported.push(error.message));
  const text = '[{"data":{"n":1},"auth":{"t":2}},{},{"auth":{"t":2}},{},{"data":null},{"data":0},{}]';
  assert.deepEqual(told, [{ count: 7, facts: text }]);
  assert.match(reported.join(), /^data of socket d is not fetched: cannot be sent: the packet's data .data.n is a BigInt$/);
});

test("facts are sent in chunks; a chunk that is not JSON counts as empty", () => {
  const sockets = new Map(Array.from({ length: 100 }, (_, n) => [`${n}`, { data: n, handshake: { auth: {} } }]));
  const chunks = factsOf(sockets, [...sockets.keys()], assert.fail);
  assert.deepEqual(chunks.map(({ count }) => count), [64, 36]);
  const told = new ServerFacts();
  assert.deepEqual(told.at(0), {});
  for (const chunk of chunks) told.add(chunk);
  for (let n = 0; n < 100; n += 1) assert.deepEqual(told.at(n), { data: n });
  for (const text of ["{", "{}", "1", "[]", "[1]", "[null]"]) told.add({ count: 1, facts: text });
  for (let n = 100; n < 110; n += 1) assert.deepEqual(told.at(n), {});
});

test("fetched sockets: own ones themselves, others from rows and facts", () => {
  const io = new Server();
  const own = { id: "a" };
  const fetching = new FetchCollector(io.of("/"), "me");
  const handshake = JSON.stringify({ headers: { cookie: ["a", "b"] }, query: { q: ["1"] }, claims: {}, url: "/u", address: "::1", secure: true, issued: 7 });
  // An older service also sends the requester's own sockets.
  const shared = [{ number: 9, headers: '{"origin":["http://x"]}' }];
  const rows = [row("a", 0), row("b", 1, { rooms: ["r"], handshake, shared: 9, user: "ada" })];
  fetching.take({ type: Type.Sockets, servers: ["me", "two"], rows, headers: shared });
  fetching.take({ type: Type.Sockets, servers: ["azure"], rows: [row("c", 0)], headers: [] });
  fetching.take({ type: Type.Asked, count: 2 });
  fetching.take({ type: Type.Data, server: "two", chunks: [{ count: 2, facts: '[{"data":{"n":1},"auth":{"t":2}},{"data":"one too many"}]' }] });
  const found = fetching.result([own], ["azure"]);
  assert.deepEqual(missingServers(found), ["azure"]);
  assert.deepEqual(missingServers(found.map((socket) => socket)), ["azure"]);
  assert.deepEqual(missingServers([]), []);
  assert.deepEqual(found.map(({ id }) => id), ["a", "b", "c"]);
  assert.equal(found[0], own);
  const [, b, c] = found;
  assert.deepEqual([[...b.rooms], b.data, b.userId], [["r", "b"], { n: 1 }, "ada"]);
  const { time, ...rest } = b.handshake;
  assert.equal(new Date(time).getTime(), 0);
  assert.deepEqual({ ...rest, query: { ...rest.query } }, { headers: { origin: "http://x", cookie: "a; b" }, address: "::1", xdomain: true, secure: true, issued: 7, url: "/u", query: { q: "1" }, auth: { t: 2 } });
  assert.equal(b.handshake, b.handshake);
  assert.deepEqual([c.handshake.issued, c.handshake.headers, c.data], [5, {}, {}]);
  assert.match(inspect(b), /handshake: \{\s+headers: \{ cookie: 'a; b', origin: 'http:\/\/x' \}/);
  assert.equal(b instanceof ClusterSocket, true);
});

test("server-side events: answers, missing app servers, reserved names", async () => {
  const uplink = new Recorder();
  const report = (error) => assert.fail(error);
  sendServerEvent(uplink, "/n", ["e", 1], 500, report);
  assert.deepEqual(uplink.sent.pop(), { type: Type.Tell, ref: 0, namespace: "/n", timeout: 0, payload: '42/n,["e",1]' });
  assert.throws(() => sendServerEvent(uplink, "/", ["disconnect"], 500, report), /reserved event name/);
  const ask = (end) =>
    new Promise((resolve) => {
      sendServerEvent(uplink, "/", ["e", (...args) => resolve(args)], 500, report);
      const asked = uplink.asked.pop();
      assert.deepEqual([asked.frame.timeout, asked.frame.payload], [500, '42["e"]']);
      asked.part({ type: Type.Answer, sender: "two", payload: '430[{"x":1}]' });
      end(asked);
    });
  assert.deepEqual(await ask(({ done }) => done({})), [null, [{ x: 1 }]]);
  const [late, some] = await ask(({ done }) => done({ missing: ["three"] }));
  assert.match(late.message, /only 1 responses received out of 2, none from three/);
  assert.deepEqual([late.missing, some], [["three"], [{ x: 1 }]]);
  const lost = new Error("session-lost");
  assert.deepEqual(await ask(({ fail }) => fail(lost)), [lost, [{ x: 1 }]]);
  const broken = new Error("mine");
  let calls = 0;
  const reported = new Promise((resolve) => {
    const callback = () => {
      calls += 1;
      throw broken;
    };
    sendServerEvent(uplink, "/", ["e", callback], 500, resolve);
    uplink.asked.pop().done();
  });
  assert.equal(await reported, broken);
  assert.equal(calls, 1);
});

test("a server-side event is answered once, and only with serialisable values", async () => {
  const uplink = new Recorder();
  const namespace = new Server().of("/n");
  const heard = new Promise((resolve) => namespace.on("e", (...args) => resolve(args)));
  receiveServerEvent(uplink, namespace, 9, '42/n,["e",5]');
  const [value, answer] = await heard;
  assert.equal(value, 5);
  assert.throws(() => answer(1n), /argument 1 is a BigInt/);
  answer({ ok: true });
  answer("again");
  assert.deepEqual(uplink.sent, [{ type: Type.Reply, ref: 9, payload: '43/n,0[{"ok":true}]' }]);
  const late = new Promise((resolve) => namespace.on("late", resolve));
  receiveServerEvent(uplink, namespace, 10, '42/n,["late"]');
  const reply = await late;
  uplink.sessionId = "another";
  reply("nobody asks any more");
  assert.equal(uplink.sent.length, 1);
});

test("[repair 1] an unreadable server-side answer counts as missing", async () => {
  const uplink = new Recorder();
  const asked = new Promise((resolve) => sendServerEvent(uplink, "/", ["e", (...args) => resolve(args)], 500, assert.fail));
  const { part, done } = uplink.asked.pop();
  part({ type: Type.Answer, sender: "two", payload: "43{}" });
  part({ type: Type.Answer, sender: "three", payload: "430" });
  done({ count: 2 });
  const [error, answers] = await asked;
  assert.match(error.message, /none from two/);
  assert.deepEqual([error.missing, answers], [["two"], [undefined]]);
});

test("[repair 1] a malformed server-side event does not reach the listeners", () => {
  const namespace = new Server().of("/n");
  namespace.on("connection", assert.fail);
  for (const odd of [...ODD_PACKETS, '42["connection"]', '42["connect",1]', '42["new_namespace"]', '42["error","x"]', "42[]"])
    assert.throws(() => receiveServerEvent(new Recorder(), namespace, 9, odd), /serverSideEmit/, odd);
});
