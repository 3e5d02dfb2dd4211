import assert from "node:assert/strict";
import { test } from "node:test";

import { Connection } from "../../dist/esm/engine/connection.js";
import { ClientRequest } from "../../dist/esm/engine/request.js";
import { Type, VOLATILE } from "../../dist/esm/wire/frames.js";
import { Recorder } from "../support/recorder.mjs";

function connection() {
  const uplink = new Recorder();
  const forgotten = [];
  const keeper = { uplink, link: uplink, restorations: new Map(), forget: (gone) => forgotten.push(gone), save: () => {} };
  const request = new ClientRequest({ headers: {}, query: { transport: ["polling"] }, claims: {}, address: "::1" }, null);
  return { conn: new Connection(keeper, keeper, 7, "sid", request), uplink, forgotten };
}

const packet = (payload) => ({ type: Type.Packet, client: 7, payload });

test("writes are sent in order, a packet and its attachments as one frame", () => {
  const { conn, uplink } = connection();
  conn.write('2["a"]').write('52-["b",0,1]').write(Buffer.from("x")).write(Buffer.from("y")).send('2["c"]');
  assert.deepEqual(uplink.sent, [packet('42["a"]'), packet('452-["b",0,1]\x1ebeA==\x1ebeQ=='), packet('42["c"]')]);
});

test("a volatile packet goes to the private room, is dropped without a socket, and goes to the client alone if it asks for an ack", () => {
  const { conn, uplink } = connection();
  conn.sockets.set("/chat", { id: "s1" });
  conn.write('2/chat,["a"]', { volatile: true });
  conn.write('51-/chat,["b",0]', { volatile: true }).write(Buffer.from("x"), { volatile: true });
  conn.write('2["c"]', { volatile: true });
  conn.write('2/chat,7["asks"]', { volatile: true });
  const to = { namespace: "/chat", rooms: ["s1"], excluded: [] };
  const emit = { type: Type.Emit, ref: 0, to, flags: VOLATILE };
  assert.deepEqual(uplink.volatile, [
    { ...emit, payload: '42/chat,["a"]' },
    { ...emit, payload: '451-/chat,["b",0]\x1ebeA==' },
    packet('42/chat,7["asks"]'),
  ]);
  assert.deepEqual(uplink.sent, []);
});

test("packets are passed on one by one until the end", () => {
  const { conn } = connection();
  const heard = [];
  conn.on("data", (data) => {
    heard.push(data);
    if (data === '2["b"]') conn.end("transport close");
  });
  conn.receive('42["a"]');
  conn.receive('42["b"]\x1e42["c"]');
  conn.receive('42["d"]');
  assert.deepEqual(heard, ['2["a"]', '2["b"]']);
});

test("a DISCONNECT waits for earlier packets; later packets and the end wait for the DISCONNECT", async () => {
  const { conn } = connection();
  const heard = [];
  conn.on("close", (reason) => heard.push(reason));
  // As socket.io does: some ticks for an event, one for a DISCONNECT.
  conn.on("data", (data) => {
    if (data.startsWith("0")) heard.push(data);
    else if (data.startsWith("1")) process.nextTick(() => heard.push(data));
    else process.nextTick(() => process.nextTick(() => Promise.resolve().then(() => heard.push(data))));
  });
  conn.receive("42/a,[1]\x1e41/a,\x1e40/a,\x1e41/b,");
  conn.receive("42/c,[2]");
  conn.endSoon("transport close", {});
  conn.receive("42/c,[3]");
  for (let i = 0; i < 5; i += 1) await new Promise(setImmediate);
  assert.deepEqual(heard, ["2/a,[1]", "1/a,", "0/a,", "1/b,", "2/c,[2]", "2/c,[3]", "transport close"]);
});

test("packets after a listener's exception are still passed on", async (t) => {
  const { conn } = connection();
  const thrown = [];
  process.setUncaughtExceptionCaptureCallback((error) => thrown.push(error.message));
  t.after(() => process.setUncaughtExceptionCaptureCallback(null));
  const heard = [];
  conn.on("close", (reason) => heard.push(reason));
  conn.on("data", (data) => {
    heard.push(data);
    throw new Error(data);
  });
  conn.receive("42[1]\x1e42[2]\x1e41\x1e42[3]");
  conn.endSoon("transport close", {});
  for (let i = 0; i < 5; i += 1) await new Promise(setImmediate);
  assert.deepEqual(heard, ["2[1]", "2[2]", "1", "2[3]", "transport close"]);
  assert.deepEqual(thrown, ["2[1]", "2[2]", "1", "2[3]"]);
});

test("close sends one Close frame and ends at once", () => {
  const { conn, uplink, forgotten } = connection();
  const reasons = [];
  conn.on("close", (reason) => reasons.push(reason));
  conn.close();
  conn.close();
  conn.end("transport close");
  conn.write('2["late"]');
  assert.deepEqual(uplink.sent, [{ type: Type.Close, client: 7 }]);
  assert.deepEqual([reasons, forgotten, conn.readyState], [["forced close"], [conn], "closed"]);
});

test("\"drain\" is emitted once per turn; each write has its callback", async () => {
  const { conn } = connection();
  let [drains, callbacks] = [0, 0];
  conn.on("drain", () => (drains += 1));
  conn.write("2[]", {}, () => (callbacks += 1)).write("2[]", {}, () => (callbacks += 1));
  await new Promise(setImmediate);
  assert.deepEqual([drains, callbacks, conn.transport.name, conn.remoteAddress], [1, 2, "polling", "::1"]);
});

test("spans of events without an ack end with the connection, and the oldest before if there are too many", () => {
  const { conn, uplink } = connection();
  const traced = () => uplink.sent.filter(({ type }) => type === Type.Traced).map(({ ref }) => ref);
  const say = (ref, ack) => {
    conn.trace({ ref, parent: "", state: "" });
    conn.receive(`42${ack}["a"]`);
  };
  for (let ref = 1; ref <= 102; ref += 1) say(ref, ref);
  assert.deepEqual(traced(), [1, 2]);
  // The client uses an ack id again.
  say(103, 50);
  assert.deepEqual(traced(), [1, 2, 50]);
  conn.end("transport close");
});
