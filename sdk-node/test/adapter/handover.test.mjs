// Hand-over, with the test in the part of the service.

import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { Type } from "../../dist/esm/wire/frames.js";
import { poll } from "../../../tests/node/lib/waiting.mjs";
import { HANDSHAKE, stage, turn } from "../support/stage.mjs";

const row = (over = {}) => ({ namespace: "/", sid: "moved", rooms: ["red"], data: '{"data":{"n":1},"auth":{"token":"t"}}', acks: 40, ...over });
const adopt = (over = {}) => ({ type: Type.Adopt, client: 7, id: "c7", user: "ada", handshake: HANDSHAKE, transport: "websocket", sockets: [row()], ...over });
const sentTypes = (uplink) => uplink.sent.map(({ type }) => type);

async function frozen(world, client = 1) {
  world.dispatch.freeze(client);
  await poll(() => sentTypes(world.uplink).includes(Type.State));
  const state = world.uplink.sent.find(({ type }) => type === Type.State);
  world.uplink.sent.length = 0;
  return state;
}

test("every other socket says before its middlewares that nobody has handed it over", async () => {
  const { io, dispatch } = await stage(0);
  const said = [];
  for (const name of ["/", "/more"])
    io.of(name).use((socket, go) => {
      said.push([name, socket.handedOver]);
      go();
    });
  for (const client of [1, 2]) {
    dispatch.open(client, `c${client}`, null, HANDSHAKE);
    dispatch.packet(client, "40");
    dispatch.packet(client, "40/more,");
  }
  dispatch.adopt(adopt());
  await poll(() => io.of("/").sockets.size === 3 && io.of("/more").sockets.size === 2);
  assert.deepEqual(said.sort(), [["/", false], ["/", false], ["/more", false], ["/more", false]]);
  const handedOver = [...io.of("/").sockets.values()].filter((socket) => socket.handedOver);
  assert.deepEqual(handedOver.map(({ id }) => id), ["moved"]);
});

describe("a client that arrives", () => {
  test("has its id, rooms, data and auth, and no CONNECT answer leaves", async () => {
    const { io, uplink, dispatch } = await stage(0);
    io.use((_, go) => go(new Error("a middleware has run")));
    const arrived = [];
    io.on("connection", (socket) => arrived.push(socket));
    dispatch.adopt(adopt());
    await poll(() => arrived.length === 1);
    const [socket] = arrived;
    assert.deepEqual([socket.id, socket.handedOver, socket.recovered, socket.data, socket.handshake.auth], ["moved", true, false, { n: 1 }, { token: "t" }]);
    assert.deepEqual([...socket.rooms].sort(), ["moved", "red"]);
    assert.deepEqual([socket.conn.transport.name, socket.conn.upgraded], ["websocket", true]);
    await poll(() => uplink.sent.length === 1);
    assert.deepEqual(sentTypes(uplink), [Type.Opened]);
    socket.emit("q", () => {});
    assert.equal(uplink.sent.at(-1).payload, '4241["q"]');
  });

  test("may be closed by its connection handler", async () => {
    const { io, uplink, dispatch, engine } = await stage(0);
    const ends = [];
    io.on("connection", (socket) => {
      socket.on("disconnect", (why) => ends.push(why));
      socket.disconnect(true);
    });
    dispatch.adopt(adopt());
    await poll(() => ends.length === 1);
    await turn();
    assert.deepEqual(uplink.sent.map(({ type, payload }) => payload ?? type), ["41", Type.Opened, Type.Close]);
    assert.equal(engine.clientsCount, 0);
  });

  test("is refused without its namespace", async () => {
    const { uplink, dispatch, engine } = await stage(0);
    dispatch.adopt(adopt({ sockets: [row({ namespace: "/unknown" })] }));
    await poll(() => uplink.sent.length === 1);
    assert.deepEqual(sentTypes(uplink), [Type.Refused]);
    assert.equal(engine.clientsCount, 0);
  });

  test("is refused while the server closes, and with data that is none", async () => {
    const { uplink, dispatch, engine, reported } = await stage(0);
    dispatch.adopt(adopt({ sockets: [row({ data: "no JSON" })] }));
    await poll(() => uplink.sent.length === 1);
    engine.closing = true;
    dispatch.adopt(adopt({ client: 8 }));
    await poll(() => uplink.sent.length === 2);
    assert.deepEqual(sentTypes(uplink), [Type.Refused, Type.Refused]);
    assert.equal(reported.length, 1);
  });
});

describe("a client that leaves", () => {
  test("says what its sockets are, when its handlers have answered", async () => {
    const world = await stage();
    const [socket] = world.sockets;
    socket.data.name = "Zoë";
    let answer;
    socket.on("slow", (ack) => (answer = ack));
    socket.emit("q", () => {});
    world.dispatch.packet(1, '420["slow"]');
    world.dispatch.freeze(1);
    await turn();
    await turn();
    assert.ok(!sentTypes(world.uplink).includes(Type.State));
    answer("done");
    socket.data.more = 1;
    await poll(() => sentTypes(world.uplink).includes(Type.State));
    assert.deepEqual(world.uplink.sent.map(({ type, payload }) => payload ?? type), ['420["q"]', '430["done"]', Type.State]);
    assert.deepEqual(world.uplink.sent.at(-1).sockets, [
      { namespace: "/", sid: socket.id, data: '{"data":{"name":"Zoë","more":1}}', acks: 0, pending: [0] },
    ]);
  });

  test("sees no event when it is released, and gets its acks and late answers", async () => {
    const world = await stage();
    const { io, uplink, dispatch, sockets: [socket], engine } = world;
    const events = [];
    for (const name of ["disconnect", "disconnecting"]) socket.on(name, () => events.push(name));
    const acked = new Promise((resolve) => socket.emit("q", resolve));
    let answer;
    socket.on("slow", (ack) => (answer = ack));
    await frozen(world);
    dispatch.packet(1, '42["not for a frozen client, but harmless"]');
    dispatch.released(1);
    assert.deepEqual([io.of("/").sockets.size, engine.clientsCount, socket.connected, [...socket.rooms]], [0, 0, false, []]);
    dispatch.packet(1, '430["yes"]');
    assert.equal(await acked, "yes");
    socket.emit("late");
    socket.emit("asks", () => {});
    assert.deepEqual(uplink.sent.map(({ payload }) => payload), ['42["late"]']);
    engine.closeAll("transport close");
    assert.deepEqual(events, []);
    assert.equal(answer, undefined);
  });

  test("goes on when nobody takes it, with what it has wanted to ask meanwhile", async () => {
    const world = await stage();
    const { uplink, dispatch, sockets: [socket] } = world;
    await frozen(world);
    socket.emit("asks", Buffer.from("x"), () => {});
    assert.deepEqual(uplink.sent, []);
    dispatch.resume(1);
    assert.deepEqual(uplink.sent.map(({ payload }) => payload.slice(0, 4)), ["451-"]);
    const heard = [];
    socket.onAny((name) => heard.push(name));
    dispatch.packet(1, '42["on"]');
    await turn();
    assert.deepEqual(heard, ["on"]);
  });

  test("says nothing when it is gone, or given back before its handlers end", async () => {
    const world = await stage(2);
    const { uplink, dispatch } = world;
    dispatch.closed(1, 1000, "client-closed", "transport close");
    for (const client of [1, 2]) dispatch.freeze(client);
    dispatch.resume(2);
    for (const client of [8, 9]) {
      dispatch.freeze(client);
      dispatch.released(client);
      dispatch.resume(client);
    }
    await turn();
    await turn();
    assert.deepEqual(uplink.sent, []);
  });
});
