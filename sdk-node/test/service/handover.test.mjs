// App servers that give their clients to other ones. Stock clients must notice nothing.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";

import { Server } from "socket.io";

import { Service } from "../../../tests/node/lib/service.mjs";
import { Log, next, pause, poll } from "../../../tests/node/lib/waiting.mjs";
import { overEachTransport, world } from "../support/world.mjs";

let service;
before(async () => (service = await Service.start()));
after(() => service.stop());

/** Echoes with acks, and says who it is. */
function serve(io, name, nsp = "/") {
  io.of(nsp).on("connection", (socket) => {
    socket.on("echo", (value, ack) => ack(name, value));
    socket.on("slow", async (value, ack) => {
      await new Promise((resolve) => setTimeout(resolve, value));
      ack(name, value);
    });
    socket.on("who", (ack) => ack({ name, id: socket.id, data: socket.data, rooms: [...socket.rooms].sort(), handedOver: socket.handedOver === true }));
  });
}

/** An app server with a client, and a second app server. */
async function two(w, options = {}) {
  const one = await w.app(options);
  serve(one, "one");
  const { client, socket } = await w.pair(one);
  const other = await w.app(options);
  serve(other, "other");
  const ends = [];
  assert.equal(socket.handedOver, false);
  for (const event of ["disconnect", "connect"]) client.on(event, (why) => ends.push([event, why]));
  socket.on("disconnect", (why) => ends.push(["the app", why]));
  return { one, other, client, socket, ends };
}

describe("a hand-over", () => {
  overEachTransport((transport) =>
    test(`moves a client on ${transport} with its id, rooms and data, and nobody sees a disconnect`, async (t) => {
      const w = world(t, service, transport);
      const { one, other, client, socket, ends } = await two(w);
      await socket.join(["red", "green"]);
      socket.data.name = "Zoë";
      const { id } = client;
      const arrived = next(other, "connection");
      assert.deepEqual(await one.moorage.handOver(), { moved: 1, missing: [] });
      const [moved] = await arrived;
      assert.deepEqual([moved.id, moved.handedOver, moved.recovered, moved.connected], [id, true, false, true]);
      assert.deepEqual(await client.emitWithAck("who"), { name: "other", id, data: { name: "Zoë" }, rooms: ["green", id, "red"].sort(), handedOver: true });
      assert.equal(client.id, id);
      const heard = new Log(client);
      other.to("red").emit("in red");
      one.to("green").emit("in green");
      moved.emit("direct");
      await Promise.all([heard.values("in red", { count: 1 }), heard.values("in green", { count: 1 }), heard.values("direct", { count: 1 })]);
      assert.deepEqual(ends, []);
      assert.equal(one.of("/").sockets.size, 0);
      assert.equal(one.moorage.clientsCount, 0);
    }),
  );

  test("keeps the order of events, and answers each once", async (t) => {
    const w = world(t, service);
    const { one, other, client, ends } = await two(w);
    const answers = [];
    const all = [];
    let over;
    // Before, during and after the hand-over.
    while (answers.at(-1)?.[0] !== "other") {
      const i = all.length;
      all.push(client.emitWithAck("echo", i).then((name) => answers.push([name, i])));
      if (answers.length >= 100) over ??= one.moorage.handOver();
      await pause(1);
    }
    await over;
    await Promise.all(all);
    assert.deepEqual(answers.map(([, value]) => value), [...all.keys()]);
    const names = answers.map(([name]) => name);
    assert.equal(names[0], "one");
    assert.equal(names.at(-1), "other");
    assert.deepEqual(names, [...names].sort());
    assert.deepEqual(ends, []);
  });

  test("waits for handlers that have not answered", async (t) => {
    const w = world(t, service);
    const { one, client } = await two(w);
    const slow = client.emitWithAck("slow", 300);
    await client.emitWithAck("who");
    await one.moorage.handOver();
    assert.equal(await slow, "one");
    assert.equal((await client.emitWithAck("who")).name, "other");
  });

  test("lets answers through that are later than that", async (t) => {
    const w = world(t, service);
    const { one, client } = await two(w);
    const slow = client.emitWithAck("slow", 2_000);
    await client.emitWithAck("who");
    const over = one.moorage.handOver();
    await poll(async () => (await client.emitWithAck("who")).name === "other");
    assert.equal(await slow, "one");
    await over;
  });

  test("leaves acks of clients to the app server that waits for them, and numbers new ones above", async (t) => {
    const w = world(t, service);
    const { one, other, client, socket } = await two(w);
    const answers = [];
    client.on("question", (value, ack) => answers.push(() => ack(`answer ${value}`)));
    const first = socket.emitWithAck("question", "of one");
    await poll(() => answers.length === 1);
    const arrived = next(other, "connection");
    const over = one.moorage.handOver();
    const [moved] = await arrived;
    const second = moved.emitWithAck("question", "of other");
    await poll(() => answers.length === 2);
    answers[1]();
    answers[0]();
    assert.equal(await second, "answer of other");
    assert.equal(await first, "answer of one");
    assert.deepEqual(await over, { moved: 1, missing: [] });
  });

  test("moves all namespaces of a client, dynamic ones too, with their auth and without middlewares", async (t) => {
    const w = world(t, service);
    const one = await w.app();
    one.of(/^\/room-\d+$/);
    const { client } = await w.pair(one, { nsp: "/room-7", auth: { token: "t" } });
    const other = await w.app();
    const parent = other.of(/^\/room-\d+$/);
    parent.use((_, go) => go(new Error("a middleware has run")));
    const arrived = next(parent, "connection");
    assert.deepEqual(await one.moorage.handOver(), { moved: 1, missing: [] });
    const [moved] = await arrived;
    assert.deepEqual([moved.id, moved.nsp.name, moved.handshake.auth], [client.id, "/room-7", { token: "t" }]);
  });

  test("gives the client back if the other app server lacks its namespace", async (t) => {
    const w = world(t, service);
    const one = await w.app();
    serve(one, "one", "/chat");
    const { client } = await w.pair(one, { nsp: "/chat" });
    await w.app();
    const { moved, missing } = await one.moorage.handOver();
    assert.deepEqual([moved, missing.length], [0, 1]);
    assert.equal((await client.emitWithAck("who")).name, "one");
  });

  test("waits for an app server that comes later", async (t) => {
    const w = world(t, service);
    const one = await w.app();
    serve(one, "one");
    const { client, socket } = await w.pair(one);
    const ends = [];
    client.on("disconnect", (why) => ends.push(why));
    socket.on("disconnect", (why) => ends.push(why));
    assert.deepEqual(await one.moorage.handOver(), { moved: 1, missing: [] });
    await one.moorage.close();
    const answer = client.emitWithAck("who");
    const other = new Server();
    serve(other, "other");
    await w.app({ io: other });
    assert.equal((await answer).name, "other");
    assert.deepEqual(ends, []);
  });

  test("does not keep a client from coming back to its socket later", async (t) => {
    const w = world(t, service);
    const { one, other, client, socket } = await two(w, { connectionStateRecovery: { maxDisconnectionDuration: 60_000 } });
    await socket.join("red");
    socket.data.name = "Zoë";
    const { id } = client;
    const arrived = next(other, "connection");
    await one.moorage.handOver();
    const [moved] = await arrived;
    const gone = next(moved, "disconnect");
    client.io.engine.close();
    await gone;
    other.to("red").emit("missed", 1);
    const heard = new Log(client);
    const back = next(other, "connection");
    client.connect();
    const [again] = await back;
    assert.deepEqual([again.id, again.recovered, again.handedOver, again.data], [id, true, false, { name: "Zoë" }]);
    assert.deepEqual(await heard.values("missed", { count: 1 }), [1]);
    assert.deepEqual([client.id, client.recovered], [id, true]);
  });

  test("comes first at a SIGTERM, if the app wants that", async (t) => {
    const w = world(t, service);
    const script = fileURLToPath(new URL("../support/sigterm-app.mjs", import.meta.url));
    const child = spawn(process.execPath, [script, w.hub, service.connectionString()], { stdio: ["ignore", "pipe", "inherit"] });
    w.atEnd(() => child.kill("SIGKILL"));
    await once(child.stdout, "data");
    const client = await w.client();
    const ends = [];
    client.on("disconnect", (why) => ends.push(why));
    assert.equal(await client.emitWithAck("who"), "app");
    const other = await w.app();
    serve(other, "other");
    const exit = once(child, "exit");
    child.kill("SIGTERM");
    assert.deepEqual(await exit, [null, "SIGTERM"]);
    assert.equal((await client.emitWithAck("who")).name, "other");
    assert.deepEqual(ends, []);
  });

  test("moves binary events and their acks", async (t) => {
    const w = world(t, service);
    const { one, client } = await two(w);
    const sent = Array.from({ length: 100 }, (_, i) => client.emitWithAck("echo", Buffer.alloc(20_000, i)));
    await one.moorage.handOver();
    const names = await Promise.all(sent);
    assert.deepEqual(names, [...names].sort());
    assert.equal(await client.emitWithAck("echo", Buffer.alloc(2)), "other");
  });

  test("moves many clients within seconds, forth and back", async (t) => {
    const w = world(t, service);
    const { one, other, ends } = await two(w);
    const clients = await w.clients(100);
    const disconnects = [];
    for (const client of clients) client.on("disconnect", (why) => disconnects.push(why));
    const start = Date.now();
    const { missing } = await one.moorage.handOver();
    assert.deepEqual(missing, []);
    assert.ok(Date.now() - start < 5_000);
    assert.equal(other.moorage.clientsCount, 101);
    for (const client of clients) assert.equal((await client.emitWithAck("who")).name, "other");
    const again = await w.app();
    serve(again, "again");
    assert.equal((await other.moorage.handOver()).moved, 101);
    for (const client of clients) assert.equal((await client.emitWithAck("who")).name, "again");
    assert.deepEqual([disconnects, ends], [[], []]);
  });
});
