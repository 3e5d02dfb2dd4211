// The server API of Socket.IO with two app servers of one hub.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { missingServers } from "../../dist/esm/index.js";
import { Proxy } from "../../../tests/node/lib/proxy.mjs";
import { Service } from "../../../tests/node/lib/service.mjs";
import { next, poll } from "../../../tests/node/lib/waiting.mjs";
import { hearing, world } from "../support/world.mjs";

let service;
before(async () => (service = await Service.start()));
after(() => service.stop());

/** Waits until `socket` is in exactly these rooms, besides its private room. */
const inRooms = (socket, ...rooms) =>
  poll(
    () => [...socket.rooms].filter((room) => room !== socket.id).sort().join() === rooms.sort().join(),
    `rooms ${rooms}`,
  );

describe("emits", () => {
  test("reach the clients of both app servers, with rooms and exceptions of both", async (t) => {
    const { one, two, a, b } = await world(t, service).cluster();
    await a.socket.join("red");
    await b.socket.join(["red", "blue"]);
    const heard = await hearing(one, [a.client, b.client], () => {
      one.emit("all");
      one.to("red").emit("red");
      one.to("red").except("blue").emit("red, not blue");
      one.to("blue").emit("blue");
      one.in(["red", "blue"]).emit("once");
      one.to(b.socket.id).emit("private");
      one.except(b.socket.id).emit("others");
      a.socket.broadcast.emit("not me");
      a.socket.to("red").emit("red, not me");
      one.send("message");
      one.compress(false).emit("compress");
    });
    assert.deepEqual(heard, [
      ["all", "red", "red, not blue", "once", "others", "message", "compress"],
      ["all", "red", "blue", "once", "private", "not me", "red, not me", "message", "compress"],
    ]);
    assert.equal(two.engine.clientsCount >= 1, true);
  });

  test("local stays with the clients of this app server", async (t) => {
    const { one, a, b } = await world(t, service).cluster();
    await a.socket.join("red");
    await b.socket.join("red");
    const heard = await hearing(one, [a.client, b.client], () => {
      one.local.emit("local");
      one.local.to("red").emit("local red");
      b.socket.local.emit("nobody else is there");
      a.socket.local.emit("nor here");
    });
    assert.deepEqual(heard, [["local", "local red"], []]);
  });

  test("volatile reaches clients that can take it", async (t) => {
    const { one, a, b } = await world(t, service).cluster();
    const heard = await hearing(one, [a.client, b.client], () => {
      one.volatile.emit("to all");
      one.to(b.socket.id).volatile.emit("to one");
      a.socket.volatile.emit("direct", Buffer.from("x"));
      a.socket.volatile.emit("direct too");
    });
    assert.deepEqual(heard, [["to all", "direct", "direct too"], ["to all", "to one"]]);
  });

  test("keep the order of direct, room and broadcast", async (t) => {
    const { one, a } = await world(t, service).cluster();
    const wanted = [];
    const heard = await hearing(one, [a.client], () => {
      for (let i = 0; i < 200; i += 1) {
        const name = `${i}`;
        wanted.push(name);
        if (i % 5 === 0) a.socket.emit(name);
        else if (i % 5 === 1) one.emit(name);
        else if (i % 5 === 2) {
          a.socket.join(`room ${i}`);
          one.to(`room ${i}`).emit(name, Buffer.from(name));
        } else if (i % 5 === 3) one.to(a.socket.id).emit(name);
        else a.socket.emit(name, Buffer.from(name));
      }
    });
    assert.deepEqual(heard, [wanted]);
  });

  test("with acks collect the answers of all", async (t) => {
    const { one, a, b } = await world(t, service).cluster();
    for (const { client, socket } of [a, b]) client.on("who", (suffix, answer) => answer(socket.id + suffix));
    const answers = await one.timeout(5000).emitWithAck("who", "!");
    assert.deepEqual(answers.filter((id) => [a, b].some(({ socket }) => id === `${socket.id}!`)).length, 2);
    assert.deepEqual(await one.to(b.socket.id).timeout(5000).emitWithAck("who", "?"), [`${b.socket.id}?`]);
    assert.deepEqual(await one.to("nobody").timeout(5000).emitWithAck("who", "?"), []);
  });

  test("with acks fail when one does not answer, and give the answers of the others", async (t) => {
    const { one, a, b } = await world(t, service).cluster();
    await a.socket.join("both");
    await b.socket.join("both");
    a.client.on("who", (answer) => answer("a"));
    // The time is long enough for the answer of `a` on a busy machine.
    const both = one.to("both").timeout(3_000);
    const [error, [failure, responses]] = await Promise.all([
      both.emitWithAck("who").catch((e) => e),
      new Promise((resolve) => both.emit("who", (...args) => resolve(args))),
    ]);
    assert.match(error.message, /timed out/);
    assert.deepEqual(error.responses, ["a"]);
    assert.match(failure.message, /timed out/);
    assert.deepEqual(responses, ["a"]);
  });
});

describe("sockets of the other app server", () => {
  test("[repair 21] are fetched with id, rooms, data and the socket's own handshake", async (t) => {
    const w = world(t, service);
    const { one, two } = await w.cluster();
    const token = service.token(w.hub, { sub: "ada", colour: ["red", "blue"] });
    const { client, socket } = await w.pairAt(two, {
      auth: { secret: 7 },
      query: { q: "a b", access_token: token },
      extraHeaders: { "x-test": "yes" },
    });
    await socket.join("red");
    socket.data = { name: "Ada", deep: { list: [1] } };
    const [found] = await one.in("red").fetchSockets();
    assert.equal(found.id, client.id);
    assert.deepEqual([...found.rooms].sort(), [client.id, "red"].sort());
    assert.deepEqual(found.data, socket.data);
    assert.equal(found.userId, "ada");
    const rest = found.handshake;
    assert.deepEqual(rest, socket.handshake);
    assert.equal(rest.headers["x-test"], "yes");
    assert.equal(rest.query.q, "a b");
    assert.equal(rest.query.access_token, undefined);
    assert.deepEqual(rest.auth, { secret: 7 });
    assert.equal(Math.abs(rest.issued - Date.now()) < 60_000 && new Date(rest.time).getTime(), Math.floor(rest.issued / 1000) * 1000);
  });

  test("own ones are the sockets themselves; all are found, in rooms, except, local", async (t) => {
    const { one, a, b } = await world(t, service).cluster();
    await a.socket.join("red");
    await b.socket.join("red");
    const ids = (sockets) => sockets.map(({ id }) => id).sort();
    const both = [a.socket.id, b.socket.id].sort();
    const all = await one.fetchSockets();
    assert.deepEqual(ids(all).filter((id) => both.includes(id)), both);
    assert.equal(all.find(({ id }) => id === a.socket.id), a.socket);
    assert.deepEqual(missingServers(all), []);
    assert.deepEqual(ids(await one.in("red").fetchSockets()), both);
    assert.deepEqual(ids(await one.in("red").except(a.socket.id).fetchSockets()), [b.socket.id]);
    assert.deepEqual(ids(await one.local.in("red").fetchSockets()), [a.socket.id]);
    assert.deepEqual(ids(await one.in("nobody").fetchSockets()), []);
    assert.deepEqual([...(await one.in("red").allSockets())].sort(), both);
    assert.equal((await one.of("/").allSockets()).has(b.socket.id), true);
  });

  test("take emits, acks, room changes and disconnects one by one", async (t) => {
    const { one, a, b } = await world(t, service).cluster();
    const [remote] = await one.in(b.socket.id).fetchSockets();
    const heard = await hearing(one, [a.client, b.client], () => remote.emit("hello"));
    assert.deepEqual(heard, [[], ["hello"]]);
    b.client.on("who", (answer) => answer("b"));
    assert.equal(await remote.timeout(5000).emitWithAck("who"), "b");
    remote.join(["x", "y"]);
    await inRooms(b.socket, "x", "y");
    remote.leave("x");
    await inRooms(b.socket, "y");
    const gone = next(b.socket, "disconnect");
    const left = next(b.client, "disconnect");
    remote.disconnect();
    assert.equal((await gone)[0], "server namespace disconnect");
    assert.equal((await left)[0], "io server disconnect");
  });

  test("join and leave rooms by selection, and their app server is notified", async (t) => {
    const { one, two, a, b } = await world(t, service).cluster();
    one.socketsJoin("all");
    await Promise.all([inRooms(a.socket, "all"), inRooms(b.socket, "all")]);
    one.in(b.socket.id).socketsJoin(["red", "blue"]);
    await inRooms(b.socket, "all", "red", "blue");
    assert.deepEqual([...two.of("/").adapter.rooms.get("red")], [b.socket.id]);
    one.in("red").socketsLeave("all");
    await inRooms(b.socket, "red", "blue");
    assert.equal(a.socket.rooms.has("all"), true);
    two.local.socketsJoin("here");
    assert.equal(b.socket.rooms.has("here"), true);
    assert.equal(a.socket.rooms.has("here"), false);
  });

  test("an own change overrides an older one of another app server", async (t) => {
    const { one, a, two } = await world(t, service).cluster();
    for (let i = 0; i < 50; i += 1) {
      two.in(a.socket.id).socketsJoin("red");
      a.socket.join("red");
      await a.socket.leave("red");
    }
    // The service has handled all earlier frames of `two` when this is answered.
    await two.of("/").adapter.serverCount();
    two.in(a.socket.id).socketsJoin("fence");
    await poll(() => a.socket.rooms.has("fence"), "the fence");
    const [known] = await two.in(a.socket.id).fetchSockets();
    assert.deepEqual([...a.socket.rooms].sort(), [...known.rooms].sort());
    assert.equal(one.of("/").adapter.rooms.has("red"), known.rooms.has("red"));
  });

  test("are disconnected by selection, with their connection if wanted", async (t) => {
    const w = world(t, service);
    const { one, two, a, b } = await w.cluster();
    const c = await w.pairAt(two);
    two.of("/other");
    const other = b.client.io.socket("/other");
    await next(other, "connect");
    await Promise.all([a, b].map(({ socket }) => socket.join("out")));
    const ends = [a, b].map(({ socket }) => next(socket, "disconnect"));
    one.in("out").disconnectSockets();
    assert.deepEqual((await Promise.all(ends)).map(([reason]) => reason), Array(2).fill("server namespace disconnect"));
    const still = next(other, "still here");
    one.of("/other").emit("still here");
    await still;
    const closed = next(c.client.io.engine, "close");
    const reason = next(c.socket, "disconnect");
    one.in(c.socket.id).disconnectSockets(true);
    await closed;
    assert.equal((await reason)[0], "server namespace disconnect");
  });
});

describe("app servers", () => {
  test("are counted", async (t) => {
    const w = world(t, service);
    const one = await w.app();
    assert.equal(await one.of("/").adapter.serverCount(), 1);
    await w.app();
    assert.equal(await one.of("/").adapter.serverCount(), 2);
  });

  test("tell each other events, with binary, in a namespace", async (t) => {
    const { one, two } = await world(t, service).cluster({ nsp: "/" });
    const mine = [];
    one.on("news", (...args) => mine.push(args));
    const heard = next(two, "news");
    one.serverSideEmit("news", { a: 1 }, Buffer.from([1, 2]));
    const [fact, bytes] = await heard;
    assert.deepEqual([fact, [...bytes]], [{ a: 1 }, [1, 2]]);
    assert.deepEqual(mine, []);
    one.of("/chat");
    const there = next(two.of("/chat"), "hello");
    one.of("/chat").serverSideEmit("hello", "you");
    assert.deepEqual(await there, ["you"]);
  });

  test("answer each other", async (t) => {
    const w = world(t, service);
    const [one, two, three] = [await w.app(), await w.app({ moorage: { requestsTimeout: 300 } }), await w.app()];
    two.on("ask", (value, answer) => answer({ two: value }));
    three.on("ask", (value, answer) => answer({ three: value }));
    const answers = await one.serverSideEmitWithAck("ask", 5);
    assert.deepEqual(answers.toSorted((x, y) => Object.keys(x)[0] < Object.keys(y)[0] ? 1 : -1), [{ two: 5 }, { three: 5 }]);
    const [error, responses] = await new Promise((resolve) => two.serverSideEmit("nobody", (...args) => resolve(args)));
    assert.match(error.message, /0 responses received out of 2/);
    assert.deepEqual(responses, []);
    assert.deepEqual(error.missing.toSorted(), [one, three].map((io) => io.moorage.serverId).sort());
  });

  test("[repair 21] one that leaves is no error for serverSideEmit with acks, as in native clusters", async (t) => {
    const w = world(t, service);
    const [one, two, three] = [await w.app({ moorage: { requestsTimeout: 60_000 } }), await w.app(), await w.app()];
    two.on("ask", () => two.close());
    three.on("ask", (answer) => answer("three"));
    assert.deepEqual(await one.serverSideEmitWithAck("ask"), ["three"]);
    three.removeAllListeners("ask");
    three.on("ask", () => three.close());
    assert.deepEqual(await one.serverSideEmitWithAck("ask"), []);
  });

  test("that hangs is named, and does not fail the call", async (t) => {
    const w = world(t, service);
    const proxy = await Proxy.start(service.port);
    w.atEnd(() => proxy.close());
    const one = await w.app({ moorage: { requestsTimeout: 300 } });
    const two = await w.app({ endpoint: proxy.url });
    const { client, socket } = await w.pairAt(two);
    socket.data.slow = true;
    proxy.hold();
    const sockets = await one.in(client.id).fetchSockets();
    assert.deepEqual(sockets.map(({ id, data }) => [id, data]), [[client.id, {}]]);
    assert.deepEqual(missingServers(sockets), [two.moorage.serverId]);
    proxy.release();
    const [again] = await one.timeout(5000).in(client.id).fetchSockets();
    assert.deepEqual(again.data, { slow: true });
  });
});
