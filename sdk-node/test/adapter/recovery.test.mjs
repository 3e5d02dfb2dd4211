// Connection state recovery under a real Socket.IO server; the test takes the part of the service.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Type, VOLATILE } from "../../dist/esm/wire/frames.js";
import { HANDSHAKE, stage, turn } from "../support/stage.mjs";

const ON = { maxDisconnectionDuration: 60_000, skipMiddlewares: true };
const RECOVER = '40{"pid":"P","offset":"o","token":"t"}';

const packets = (uplink) => uplink.sent.filter(({ type }) => type === Type.Packet).map(({ client, payload }) => [client, payload]);
const changes = (uplink) => uplink.asked.map(({ frame }) => [frame.type, frame.client, ...frame.rooms]);
const saves = (uplink) => uplink.sent.filter(({ type }) => type === Type.Save);
const lose = async (dispatch, client, cause = "transport close") => {
  dispatch.closed(client, 3004, "transport-lost", cause);
  await turn();
  await turn();
};

/** The client 1 is away, and 2 has come for it. The socket `id` had the rooms `r` and `s`. */
async function away(recovery = ON) {
  const staged = await stage(1, recovery);
  const { io, uplink, dispatch, sockets: [socket] } = staged;
  const arrived = [];
  io.on("connection", (found) => arrived.push(found));
  socket.join(["r", "s"]);
  socket.data.name = "Zoë";
  await lose(dispatch, 1);
  dispatch.open(2, "c2", null, HANDSHAKE);
  uplink.asked.length = 0;
  uplink.sent.length = 0;
  const back = (packet = RECOVER, rooms = ["r", "s"], data = '{"name":"Zoë"}') => dispatch.recover(2, "/", packet, socket.id, rooms, data);
  return { ...staged, arrived, back, id: socket.id };
}

test("a CONNECT answer has no pid: the service makes it", async () => {
  const { io, uplink, dispatch } = await stage(1, ON);
  dispatch.open(2, "c2", null, HANDSHAKE);
  dispatch.packet(2, "40");
  await turn();
  const [, socket] = [...io.of("/").sockets.values()];
  assert.deepEqual(packets(uplink), [[2, `40{"sid":"${socket.id}"}`]]);
});

test("socket.emit goes to its client alone and adds nothing; its listeners, acks, flags and attachments are as without recovery", async () => {
  const { io, uplink, dispatch, sockets: [socket] } = await stage(1, ON);
  const outgoing = [];
  socket.onAnyOutgoing((...args) => {
    outgoing.push(args);
    if (args[0] === "a") io.emit("nested");
  });
  const answers = [];
  socket.emit("a", "text");
  socket.emit("b", (answer) => answers.push(answer));
  socket.emit("c", Buffer.from("x"));
  socket.volatile.emit("d");
  assert.throws(() => socket.emit("connect"), /reserved/);
  io.to(socket.id).emit("e");
  socket.send("f");
  assert.deepEqual(packets(uplink), [[1, '42["a","text"]'], [1, '420["b"]'], [1, '451-["c",{"_placeholder":true,"num":0}]\x1ebeA=='], [1, '42["message","f"]']]);
  const emits = uplink.sent.filter(({ type }) => type === Type.Emit);
  assert.deepEqual(emits.map(({ to, payload }) => [to.rooms, payload]), [[[], '42["nested"]'], [[socket.id], '42["e"]']]);
  assert.deepEqual(uplink.volatile.map(({ flags, to, payload }) => [flags, to.rooms, payload]), [[VOLATILE, [socket.id], '42["d"]']]);
  assert.deepEqual(outgoing.map(([name]) => name), ["a", "nested", "b", "c", "d", "e", "message"]);
  dispatch.packet(1, '430["yes"]');
  await turn();
  assert.deepEqual(answers, ["yes"]);
});

test("after the disconnect listeners the service gets the data of each socket, and emits to a closed socket go to its room", async () => {
  const { io, uplink, dispatch, sockets: [socket] } = await stage(1, ON);
  io.of("/other");
  dispatch.packet(1, "40/other,");
  await turn();
  const [other] = [...io.of("/other").sockets.values()];
  socket.data.before = 1;
  socket.on("disconnect", () => {
    socket.data.inListener = 2;
    socket.emit("missed", 1);
  });
  await lose(dispatch, 1);
  assert.deepEqual(saves(uplink), [
    { type: Type.Save, namespace: "/", sid: socket.id, data: '{"before":1,"inListener":2}' },
    { type: Type.Save, namespace: "/other", sid: other.id, data: "" },
  ]);
  socket.emit("missed", 2);
  const emits = uplink.sent.filter(({ type }) => type === Type.Emit);
  assert.deepEqual(emits.map(({ to, payload }) => [to.rooms, payload]), [[[socket.id], '42["missed",1]'], [[socket.id], '42["missed",2]']]);
});

test("a disconnect listener ends the client's other socket for good", async () => {
  const { io, uplink, dispatch, sockets: [socket] } = await stage(1, ON);
  io.of("/other");
  dispatch.packet(1, "40/other,");
  await turn();
  const [other] = [...io.of("/other").sockets.values()];
  const reasons = [];
  other.on("disconnect", (reason) => reasons.push(reason));
  socket.on("disconnect", () => other.disconnect());
  uplink.sent.length = 0;
  await lose(dispatch, 1);
  assert.deepEqual(reasons, ["server namespace disconnect"]);
  assert.deepEqual(saves(uplink).map(({ sid }) => sid), [socket.id]);
  assert.deepEqual(packets(uplink), [[1, "41/other,"]]);
});

test("nothing is kept of a socket that has left by itself, is closed by the app, broke the protocol, or belongs to a service without recovery", async () => {
  for (const end of [
    ({ dispatch }) => dispatch.packet(1, "41"),
    ({ sockets: [socket] }) => socket.disconnect(),
    ({ sockets: [socket] }) => socket.disconnect(true),
    ({ dispatch }) => dispatch.closed(1, 1, "bad-packet", "parse error"),
    ({ dispatch, uplink }) => {
      uplink.recovers = false;
      dispatch.closed(1, 1, "transport-lost", "transport close");
    },
  ]) {
    const staged = await stage(1, ON);
    end(staged);
    await turn();
    await lose(staged.dispatch, 1);
    assert.deepEqual(saves(staged.uplink), [], String(end));
    assert.equal(staged.io.of("/").sockets.size, 0);
  }
});

test("data that cannot be serialised is reported and not kept", async () => {
  const { uplink, dispatch, reported, sockets: [socket] } = await stage(1, ON);
  socket.data.user = { id: 5n };
  await lose(dispatch, 1);
  assert.deepEqual(saves(uplink).map(({ data }) => data), [""]);
  assert.match(String(reported), new RegExp(`data of socket ${socket.id} is not kept: .*user.id is a BigInt`));
});

test("a socket goes on: same id, rooms and data, recovered, without a frame for its rooms", async () => {
  const { io, uplink, arrived, back, id } = await away();
  let ran = 0;
  io.use((_socket, next) => next(void (ran += 1)));
  back();
  await turn();
  const [socket] = arrived;
  assert.equal(arrived.length, 1);
  assert.deepEqual([socket.id, socket.recovered, socket.connected, socket.data], [id, true, true, { name: "Zoë" }]);
  assert.deepEqual(new Set(socket.rooms), new Set([id, "r", "s"]));
  assert.deepEqual(socket.handshake.auth, { pid: "P", offset: "o", token: "t" });
  assert.deepEqual(packets(uplink), [[2, `40{"sid":"${id}"}`]]);
  assert.deepEqual([changes(uplink), ran], [[], 0]);
  socket.emit("live");
  assert.deepEqual(packets(uplink).at(-1), [2, '42["live"]']);
});

test("a client that has received no event yet sends no offset, and some send neither", async () => {
  for (const [packet, auth] of [['40{"pid":"P"}', { pid: "P", offset: "" }], ['40{"pid":"P","offset":7}', { pid: "P", offset: "" }]]) {
    const { arrived, back, id } = await away();
    back(packet, [], "");
    await turn();
    assert.deepEqual([arrived[0].id, arrived[0].handshake.auth, arrived[0].data], [id, auth, {}]);
  }
});

test("a refused claim is an ordinary CONNECT: a new socket that is not recovered", async () => {
  const { io, dispatch, arrived, id } = await away();
  let ran = 0;
  io.use((_socket, next) => next(void (ran += 1)));
  dispatch.packet(2, RECOVER);
  await turn();
  assert.deepEqual([arrived.length, arrived[0].id === id, arrived[0].recovered, ran], [1, false, false, 1]);
});

test("without skipMiddlewares they run, with the restored socket; one may change its rooms, and one may refuse it", async () => {
  const { io, uplink, arrived, back, id } = await away({ ...ON, skipMiddlewares: false });
  const seen = [];
  io.use((socket, next) => {
    seen.push(socket.recovered, ...socket.rooms);
    socket.leave("r");
    socket.join("t");
    next();
  });
  back();
  await turn();
  assert.deepEqual(seen, [true, id, "r", "s"]);
  assert.deepEqual(new Set(arrived[0].rooms), new Set([id, "s", "t"]));
  assert.deepEqual(changes(uplink), [[Type.Exit, 2, "r"], [Type.Enter, 2, "t"]]);

  const refused = await away({ ...ON, skipMiddlewares: false });
  refused.io.use((_socket, next) => next(new Error("no")));
  refused.back();
  await turn();
  assert.deepEqual(packets(refused.uplink), [[2, '44{"message":"no"}']]);
  assert.equal(refused.arrived.length, 0);
  assert.equal(refused.adapter.sids.has(refused.id), false);
});

test("others may change the rooms until the socket is connected", async () => {
  const { io, dispatch, uplink, arrived, back, id } = await away({ ...ON, skipMiddlewares: false });
  let go;
  io.use((_socket, next) => (go = next));
  back();
  dispatch.moved(2, "/", false, ["r"]);
  await turn();
  dispatch.moved(2, "/", true, ["t"]);
  go();
  await turn();
  assert.deepEqual(new Set(arrived[0].rooms), new Set([id, "s", "t"]));
  assert.deepEqual(changes(uplink), []);
  dispatch.moved(2, "/", false, ["t"]);
  assert.deepEqual(new Set(arrived[0].rooms), new Set([id, "s"]));
});

test("a client that leaves again while it is being restored leaves nothing behind", async () => {
  const { io, dispatch, adapter, arrived, back, id } = await away({ ...ON, skipMiddlewares: false });
  let go;
  io.use((_socket, next) => (go = next));
  back();
  await turn();
  await lose(dispatch, 2);
  go();
  await turn();
  assert.equal(arrived.length, 0);
  assert.equal(adapter.sids.has(id), false);
  assert.equal(io.engine.restorations.size, 0);
});

test("a namespace that does not exist any more, or is dynamic", async () => {
  const { io, dispatch, uplink } = await stage(1, ON);
  dispatch.recover(1, "/gone", '40/gone,{"pid":"P"}', "S", [], "");
  await turn();
  assert.deepEqual(packets(uplink), [[1, '44/gone,{"message":"Invalid namespace"}']]);
  const arrived = [];
  io.of(/^\/dyn/).on("connection", (socket) => arrived.push([socket.nsp.name, socket.id, socket.recovered]));
  dispatch.recover(1, "/dyn1", "40/dyn1,", "S1", ["r"], "");
  await turn();
  assert.deepEqual(arrived, [["/dyn1", "S1", true]]);
  await lose(dispatch, 1);
  assert.equal(io.engine.restorations.size, 0);
});

test("a DISCONNECT of another namespace before it keeps its turn", async () => {
  const { io, dispatch, arrived, back, id } = await away();
  io.of("/other").on("connection", (socket) => socket.on("disconnect", () => arrived.push("left")));
  dispatch.packet(2, "40/other,");
  await turn();
  dispatch.packet(2, "41/other,");
  back();
  await turn();
  await turn();
  assert.deepEqual([arrived[0], arrived[1].id], ["left", id]);
});

test("quiet: the socket lives on, its packets go to its old client until it is back, then to the new one", async () => {
  const { io, uplink, dispatch, sockets: [socket] } = await stage(1, ON);
  const heard = [];
  io.on("connection", () => heard.push("connection"));
  socket.on("disconnect", (reason) => heard.push(reason));
  socket.on("event", (arg) => heard.push(arg));
  const answers = [];
  dispatch.parked(1, "transport close");
  assert.equal(socket.connected, true);
  socket.emit("missed", (answer) => answers.push(answer));
  socket.join("r");
  dispatch.open(2, "c2", null, HANDSHAKE);
  dispatch.back(2, "/", socket.id, 1);
  dispatch.packet(2, '430["yes"]\x1e42["event","live"]');
  socket.emit("live");
  socket.join("s");
  await turn();
  assert.deepEqual(heard, ["live"]);
  assert.deepEqual(answers, ["yes"]);
  assert.deepEqual(packets(uplink), [[1, '420["missed"]'], [2, '42["live"]']]);
  assert.deepEqual(changes(uplink), [[Type.Enter, 1, "r"], [Type.Enter, 2, "s"]]);
  assert.equal(socket.conn.id, "c2");
  await lose(dispatch, 1);
  assert.deepEqual([heard, io.of("/").sockets.size], [["live"], 1]);
  dispatch.moved(2, "/", true, ["u"]);
  assert.equal(socket.rooms.has("u"), true);
  await lose(dispatch, 2, "ping timeout");
  assert.deepEqual(heard, ["live", "ping timeout"]);
});

test("quiet: sockets that did not come back end with the old client", async () => {
  const { io, dispatch, sockets: [socket] } = await stage(1, ON);
  io.of("/other");
  dispatch.packet(1, "40/other,");
  await turn();
  const [other] = [...io.of("/other").sockets.values()];
  const heard = [];
  socket.on("disconnect", (reason) => heard.push(["/", reason]));
  other.on("disconnect", (reason) => heard.push(["/other", reason]));
  dispatch.parked(1, "ping timeout");
  dispatch.open(2, "c2", null, HANDSHAKE);
  dispatch.back(2, "/", socket.id, 1);
  await lose(dispatch, 1, "ping timeout");
  assert.deepEqual(heard, [["/other", "ping timeout"]]);
  dispatch.packet(2, "41");
  await turn();
  await turn();
  assert.deepEqual(heard[1], ["/", "client namespace disconnect"]);
});

test("quiet: a socket that is not there is not brought back", async () => {
  const { dispatch, sockets: [socket] } = await stage(1, ON);
  dispatch.open(2, "c2", null, HANDSHAKE);
  for (const [client, namespace, sid, was] of [[2, "/", "other", 1], [2, "/x", socket.id, 1], [9, "/", socket.id, 1], [2, "/", socket.id, 9]])
    dispatch.back(client, namespace, sid, was);
  assert.equal(socket.conn.id, "c1");
});
