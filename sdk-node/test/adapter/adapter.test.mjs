// The adapter under a real Socket.IO server; the test takes the part of the service.

import assert from "node:assert/strict";
import { test } from "node:test";

import { FrameBuffer } from "../../dist/esm/dispatcher.js";
import { Type } from "../../dist/esm/wire/frames.js";
import { HANDSHAKE, stage, turn } from "../support/stage.mjs";

const rooms = (socket) => [...socket.rooms].filter((room) => room !== socket.id);

test("CONNECT joins the private room without a frame; each join and leave is one frame", async () => {
  const { uplink, sockets: [socket] } = await stage();
  assert.deepEqual([...socket.rooms], [socket.id]);
  assert.deepEqual(uplink.asked, []);
  socket.join(["a", 5]);
  socket.leave("a");
  const frame = { client: 1, namespace: "/" };
  assert.deepEqual(uplink.asked.map((asked) => asked.frame), [
    { type: Type.Enter, ref: 1, ...frame, rooms: ["a", "5"] },
    { type: Type.Exit, ref: 2, ...frame, rooms: ["a"] },
  ]);
});

test("a join is sent even if the local view contains the room: an earlier join or io.socketsLeave may be pending", async () => {
  const { io, uplink, dispatch, sockets: [socket] } = await stage();
  socket.join("a");
  assert.equal(typeof socket.join("a")?.then, "function");
  for (const { done } of uplink.asked) done();
  io.socketsLeave("a");
  socket.join("a");
  dispatch.moved(1, "/", false, ["a"]);
  uplink.asked[2].done();
  assert.deepEqual(rooms(socket), ["a"]);
  io.socketsJoin("b");
  socket.leave("b");
  dispatch.moved(1, "/", true, ["b"]);
  uplink.asked[3].done();
  assert.deepEqual(rooms(socket), ["a"]);
  const order = uplink.asked.map(({ frame }) => [frame.type, ...frame.rooms]);
  assert.deepEqual(order, [[Type.Enter, "a"], [Type.Enter, "a"], [Type.Enter, "a"], [Type.Exit, "b"]]);
});

test("a repeated join that fails leaves the room as it was", async () => {
  const { uplink, reported, sockets: [socket] } = await stage();
  const first = socket.join("a");
  uplink.asked[0].done();
  await first;
  const again = socket.join(["a", "b"]);
  uplink.asked[1].fail(new Error("too many groups"));
  await assert.rejects(again);
  assert.deepEqual([rooms(socket), reported.length], [["a"], 1]);
});

test("joins for a client that is gone send nothing, from a late middleware or a disconnect handler", async () => {
  const { io, uplink, dispatch, sockets: [socket] } = await stage();
  let late;
  io.use((candidate, next) => (late = { candidate, next }));
  dispatch.open(2, "c2", null, HANDSHAKE);
  dispatch.packet(2, "40");
  await turn();
  dispatch.closed(2, 1, "client-left", "transport close");
  socket.on("disconnect", () => socket.leave("a"));
  dispatch.closed(1, 1, "client-left", "transport close");
  await turn();
  uplink.sent.length = 0;
  late.candidate.join("secret");
  late.next();
  await turn();
  assert.deepEqual([uplink.asked, uplink.sent, io.of("/").adapter.rooms.size], [[], [], 0]);
});

test("a socket whose dynamic namespace was closed still gets room changes and disconnects by others", async () => {
  const { io, uplink, dispatch } = await stage();
  io.opts.cleanupEmptyChildNamespaces = true;
  const waiting = [];
  io.of(/^\/child/).use((_socket, next) => waiting.push(next));
  for (const client of [1, 2]) {
    if (client > 1) dispatch.open(client, `c${client}`, null, HANDSHAKE);
    dispatch.packet(client, "40/child,");
    await turn();
  }
  const child = io.of("/child");
  waiting[0](new Error("no"));
  await turn();
  assert.equal(io._nsps.has("/child"), false);
  waiting[1]();
  await turn();
  const [socket] = child.sockets.values();
  uplink.sent.length = 0;
  dispatch.moved(2, "/child", true, ["a"]);
  assert.deepEqual(rooms(socket), ["a"]);
  dispatch.left(2, "/child");
  assert.equal(socket.connected, false);
});

test("rooms joined in a middleware are sent once the socket is accepted", async () => {
  const { io, uplink, dispatch } = await stage();
  const waiting = [];
  io.use((socket, next) => waiting.push({ socket, next }));
  for (const client of [2, 3]) {
    dispatch.open(client, `c${client}`, null, HANDSHAKE);
    dispatch.packet(client, "40");
  }
  await turn();
  uplink.sent.length = 0;
  for (const { socket } of waiting) {
    assert.equal(await socket.join(["a", "b", 5]), undefined);
    socket.leave("b");
    assert.deepEqual(rooms(socket), ["a", 5]);
  }
  waiting[0].next(new Error("no"));
  await turn();
  assert.deepEqual(uplink.asked, []);
  waiting[1].next();
  await turn();
  const [, { socket }] = waiting;
  assert.deepEqual(uplink.asked.map(({ frame }) => frame), [
    { type: Type.Enter, ref: 1, client: 3, namespace: "/", rooms: ["a", "5"] },
  ]);
  assert.deepEqual(uplink.sent.map(({ payload }) => payload.slice(0, 2)), ["44", "40"]);
  assert.deepEqual([...socket.rooms], ["a", 5, socket.id]);
});

test("a Moved that follows the Done is applied, also in the same batch", async () => {
  const { uplink, dispatch, sockets: [socket] } = await stage();
  const left = socket.join("a") ?? assert.fail("no promise");
  uplink.asked[0].done();
  await left;
  const gone = socket.leave("a");
  dispatch.moved(1, "/", true, ["a", "b"]);
  assert.deepEqual(rooms(socket), ["b"]);
  uplink.asked[1].done();
  dispatch.moved(1, "/", true, ["a"]);
  assert.deepEqual(rooms(socket), ["b", "a"]);
  dispatch.moved(1, "/", false, ["a", "b"]);
  assert.deepEqual(rooms(socket), []);
  await gone;
  dispatch.moved(9, "/", true, ["a"]);
  dispatch.moved(1, "/nowhere", true, ["a"]);
});

test("a join that fails is undone, reported and rejected; it is not reported for a socket that is gone", async () => {
  const { uplink, reported, sockets: [one, two] } = await stage(2);
  const [first, second] = [one.join("a"), two.join("a")];
  two.disconnect();
  for (const { fail } of uplink.asked) fail(new Error("too many groups"));
  await assert.rejects(first, /too many/);
  await assert.rejects(second, /too many/);
  assert.deepEqual(rooms(one), []);
  assert.deepEqual(reported.map(String), ["Error: too many groups"]);
});

test("a room change of another app server's socket is a selection write", async () => {
  const { uplink, adapter } = await stage();
  adapter.addAll("elsewhere", new Set(["a"]));
  adapter.del("elsewhere", "b");
  const to = { namespace: "/", rooms: ["elsewhere"], excluded: [] };
  assert.deepEqual(uplink.sent, [
    { type: Type.Join, ref: 0, to, rooms: ["a"] },
    { type: Type.Leave, ref: 0, to, rooms: ["b"] },
  ]);
});

test("an emit is one frame; the link may drop a volatile one", async () => {
  const { io, uplink } = await stage(3);
  io.to("a").except("b").emit("x", Buffer.from("y"));
  io.volatile.emit("z");
  assert.deepEqual(uplink.sent, [
    {
      type: Type.Emit,
      ref: 0,
      to: { namespace: "/", rooms: ["a"], excluded: ["b"] },
      flags: 0,
      payload: '451-["x",{"_placeholder":true,"num":0}]\x1ebeQ==',
    },
  ]);
  assert.deepEqual(uplink.volatile.map(({ payload, flags }) => [payload, flags]), [['42["z"]', 1]]);
});

test("an emit with acks counts one server; the next serverCount is not affected", async () => {
  const { io, uplink, adapter } = await stage();
  const answers = io.timeout(1000).emitWithAck("who");
  const [{ part, done, frame }] = uplink.asked;
  assert.equal(frame.timeout, 1000);
  part({ type: Type.Asked, count: 2 });
  part({ type: Type.Answer, sender: "s1", payload: '4307["a"]' });
  part({ type: Type.Answer, sender: "s2", payload: '461-7[{"_placeholder":true,"num":0}]\x1ebeQ==' });
  done({ count: 2 });
  assert.deepEqual(await answers, ["a", Buffer.from("y")]);
  adapter.broadcastWithAck({ type: 2, data: ["x"] }, { rooms: new Set(), flags: { timeout: 5 } }, () => {}, () => {});
  await turn();
  const count = adapter.serverCount();
  const list = uplink.asked.at(-1);
  assert.equal(list.frame.type, Type.List);
  list.part({ type: Type.Servers, rows: [{ up: true }, { up: false }, { up: true }] });
  list.done();
  assert.equal(await count, 2);
});

test("[repair 1] an answer without data has no arguments; an unreadable answer is ignored", async (t) => {
  const { io, uplink } = await stage();
  const thrown = [];
  process.setUncaughtExceptionCaptureCallback((error) => thrown.push(error));
  t.after(() => process.setUncaughtExceptionCaptureCallback(null));
  const answers = io.timeout(60_000).emitWithAck("who");
  const [{ part, done }] = uplink.asked;
  part({ type: Type.Asked, count: 2 });
  for (const payload of ["43{}", "437x", "42", "", "461-7", '461-7[{"_placeholder":true,"num":1}]\x1ebeQ=='])
    part({ type: Type.Answer, sender: "s1", payload });
  part({ type: Type.Answer, sender: "s2", payload: "437" });
  part({ type: Type.Answer, sender: "s3", payload: '437["a"]' });
  done({ count: 2 });
  assert.deepEqual(await answers, [undefined, "a"]);
  await turn();
  assert.deepEqual(thrown, []);
});

test("an exception in the callback of an emit with acks is an uncaught exception", async (t) => {
  const { io, uplink } = await stage();
  const thrown = [];
  process.setUncaughtExceptionCaptureCallback((error) => thrown.push(error.message));
  t.after(() => process.setUncaughtExceptionCaptureCallback(null));
  for (const count of [0, 1]) {
    io.timeout(1000).emit("who", () => {
      throw new Error(`mine ${count}`);
    });
    const { part } = uplink.asked.at(-1);
    await turn();
    part({ type: Type.Asked, count });
    if (count) part({ type: Type.Answer, sender: "s1", payload: '4307["a"]' });
  }
  await turn();
  assert.deepEqual(thrown, ["mine 0", "mine 1"]);
});

test("allSockets waits for the ids only, and adds its own", async () => {
  const { io, uplink, sockets: [socket] } = await stage();
  socket.join("a");
  const ids = io.in("a").allSockets();
  const { frame, part } = uplink.asked.at(-1);
  assert.deepEqual([frame.type, frame.others], [Type.Fetch, true]);
  part({ type: Type.Sockets, servers: ["two"], rows: [{ id: "x" }, { id: "y" }], headers: [] });
  part({ type: Type.Asked, count: 1 });
  assert.deepEqual([...(await ids)], ["x", "y", socket.id]);
});

test("questions about an unknown namespace are answered", async () => {
  const { dispatch, uplink, sockets: [socket], reported } = await stage();
  socket.data.n = 1;
  dispatch.query(3, "/", [socket.id, "gone"]);
  dispatch.query(4, "/nowhere", ["x"]);
  dispatch.told(0, "two", "/nowhere", '42/nowhere,["x"]');
  dispatch.told(9, "two", "/nowhere", '42/nowhere,["x"]');
  assert.deepEqual(uplink.sent, [
    { type: Type.Facts, ref: 3, chunks: [{ count: 2, facts: '[{"data":{"n":1}},{}]' }] },
    { type: Type.Facts, ref: 4, chunks: [{ count: 1, facts: "[{}]" }] },
    { type: Type.Reply, ref: 9, payload: "" },
  ]);
  dispatch.failed({ number: 7, reason: "link-bad-request", message: "no" });
  assert.equal(reported[0].reason, "link-bad-request");
});

test("frames that arrive before the handler is set are passed on in order", () => {
  const buffer = new FrameBuffer();
  buffer.handler.open(1, "c", null, HANDSHAKE);
  buffer.handler.told(0, "s", "/", "x");
  const heard = [];
  const broken = new Error("mine");
  const open = () => {
    throw broken;
  };
  buffer.release({ open, told: (_ref, sender) => heard.push(sender) }, (error) => heard.push(error));
  assert.deepEqual(heard, [broken, "s"]);
});
