// The recipients of an emit, and its content: rooms, broadcasts, namespaces, binary data, sizes, order.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { after, before, describe, it } from "node:test";

import { Service } from "../lib/service.mjs";
import { Log, next } from "../lib/waiting.mjs";
import { connected, hearing, overEachTransport, refused, serverSide, world } from "../lib/world.mjs";

let service;
before(async () => (service = await Service.start()));
after(() => service.stop());

const TRICKY = 'é ß 漢字 🚢 \u2028 \u0000 \u001e "quoted" \\ \u{10ffff} ﷽';

overEachTransport((transport) => {
  describe(`over ${transport}`, () => {
    /** An app server, some clients and their server-side sockets. */
    async function crew(t, count, options = {}) {
      const w = world(t, service, transport);
      const io = await w.app(options);
      const clients = await w.clients(count);
      return { w, io, clients, sockets: clients.map((client) => serverSide(io, client)) };
    }

    it("emits to all", async (t) => {
      const { io, clients } = await crew(t, 3);
      const heard = await hearing(io, clients, () => io.emit("x", 1, "two", null));
      assert.deepEqual(heard, Array(3).fill([["x", 1, "two", null]]));
    });

    it("broadcasts to all but the sender", async (t) => {
      const { io, clients, sockets } = await crew(t, 3);
      const heard = await hearing(io, clients, () => sockets[0].broadcast.emit("x", 1));
      assert.deepEqual(heard, [[], [["x", 1]], [["x", 1]]]);
    });

    it("emits to a room, also from one of its members, without echo", async (t) => {
      const { io, clients, sockets } = await crew(t, 3);
      await sockets[0].join("room");
      await sockets[1].join("room");
      const heard = await hearing(io, clients, () => {
        io.to("room").emit("x", "io");
        sockets[0].to("room").emit("x", "member");
        sockets[2].to("room").emit("x", "stranger");
      });
      const all = [["x", "io"], ["x", "member"], ["x", "stranger"]];
      assert.deepEqual(heard, [[all[0], all[2]], all, []]);
    });

    it("no longer reaches clients that have left the room", async (t) => {
      const { io, clients, sockets } = await crew(t, 2);
      for (const socket of sockets) await socket.join(["room", "other"]);
      await sockets[1].leave("room");
      assert.deepEqual([...sockets[1].rooms].sort(), ["other", sockets[1].id].sort());
      const heard = await hearing(io, clients, () => {
        io.to("room").emit("x", 1);
        io.to("other").emit("x", 2);
      });
      assert.deepEqual(heard, [[["x", 1], ["x", 2]], [["x", 2]]]);
    });

    it("emits once to a member of several rooms", async (t) => {
      const { io, clients, sockets } = await crew(t, 3);
      await sockets[0].join(["a", "b", "c"]);
      await sockets[1].join("b");
      const heard = await hearing(io, clients, () => {
        io.to("a").to("b").to("c").emit("x", 1);
        io.in(["a", "b", "nobody"]).emit("x", 2);
      });
      assert.deepEqual(heard, [[["x", 1], ["x", 2]], [["x", 1], ["x", 2]], []]);
    });

    it("excepts rooms from all named rooms", async (t) => {
      const { io, clients, sockets } = await crew(t, 4);
      const rooms = [["a"], ["b"], ["a", "out"], ["b", "away"]];
      await Promise.all(sockets.map((socket, index) => socket.join(rooms[index])));
      const heard = await hearing(io, clients, () => {
        io.except("out").emit("x", 1);
        io.to("a").except("out").emit("x", 2);
        io.to(["a", "b"]).except("out").emit("x", 3);
        io.to(["a", "b"]).except(["out", "away"]).emit("x", 4);
        io.except(["a", "b"]).emit("x", 5);
      });
      assert.deepEqual(
        heard.map((events) => events.map(([, number]) => number)),
        [[1, 2, 3, 4], [1, 3, 4], [], [1, 3]],
      );
    });

    it("does not echo a socket's emit to several of its own rooms", async (t) => {
      const { io, clients, sockets } = await crew(t, 3);
      await sockets[0].join(["a", "b"]);
      await sockets[1].join(["a", "b"]);
      await sockets[2].join("b");
      const heard = await hearing(io, clients, () => {
        sockets[0].to(["a", "b"]).emit("x", 1);
        sockets[0].to("a").to("b").except("none").emit("x", 2);
      });
      assert.deepEqual(heard, [[], [["x", 1], ["x", 2]], [["x", 1], ["x", 2]]]);
    });

    it("reaches a socket by its id as a room", async (t) => {
      const { io, clients } = await crew(t, 2);
      const heard = await hearing(io, clients, () => io.to(clients[1].id).emit("x", 1));
      assert.deepEqual(heard, [[], [["x", 1]]]);
    });

    it("accepts any string as a room", async (t) => {
      const { io, clients, sockets } = await crew(t, 2);
      const names = ["a b", "it's", "a/b?c=d&e", "'", "é漢🚢", "~", "in groups", "x".repeat(200)];
      await sockets[0].join(names);
      const heard = await hearing(io, clients, () => {
        for (const name of names) io.to(name).emit("x", name);
        io.to(names).except("it's not").emit("x", "all");
      });
      assert.deepEqual(heard, [[...names, "all"].map((name) => ["x", name]), []]);
    });

    it("moves sockets by socketsJoin and socketsLeave", async (t) => {
      const { io, clients, sockets } = await crew(t, 3);
      await sockets[0].join("old");
      await sockets[1].join(["old", "stay"]);
      await io.in("old").except("stay").socketsJoin(["new", "newer"]);
      await io.in("stay").socketsLeave("old");
      await io.in(sockets[2].id).socketsJoin("newer");
      const heard = await hearing(io, clients, () => {
        io.to("new").emit("x", "new");
        io.to("newer").emit("x", "newer");
        io.to("old").emit("x", "old");
      });
      assert.deepEqual(
        heard.map((events) => events.map(([, name]) => name)),
        [["new", "newer", "old"], [], ["newer"]],
      );
    });

    it("forgets the rooms of a client that reconnects", async (t) => {
      const { io, clients, sockets } = await crew(t, 2);
      await sockets[0].join("room");
      const gone = next(sockets[0], "disconnect");
      clients[0].disconnect();
      await gone;
      clients[0].connect();
      await connected(clients[0]);
      const heard = await hearing(io, clients, () => io.to("room").emit("x", 1));
      assert.deepEqual(heard, [[], []]);
    });

    it("serves several namespaces on one connection, each separately", async (t) => {
      const { w, io, clients: [main] } = await crew(t, 1);
      io.of("/chat");
      io.of("/news/é b");
      const [chat, news] = ["/chat", "/news/é b"].map((nsp) => main.io.socket(nsp));
      await Promise.all([chat, news].map(connected));
      assert.equal(serverSide(io, chat).conn, serverSide(io, main).conn);
      const other = await w.client({ nsp: "/chat" });

      await Promise.all([chat, news].map((socket) => serverSide(io, socket).join("room")));
      const logs = [main, chat, news, other].map((socket) => new Log(socket));
      io.emit("x", "main");
      io.of("/chat").emit("x", "chat");
      io.of("/chat").to("room").emit("x", "chat room");
      io.of("/news/é b").to("room").emit("x", "news room");
      serverSide(io, chat).broadcast.emit("x", "chat other");
      for (const nsp of ["/", "/chat", "/news/é b"]) io.of(nsp).emit("end");
      const heard = await Promise.all(logs.map((log) => log.upTo("end")));
      assert.deepEqual(
        heard.map((events) => events.map(([, text]) => text)),
        [["main"], ["chat", "chat room"], ["news room"], ["chat", "chat other"]],
      );
    });

    it("keeps the other namespaces when one is left, and lets the client enter it again", async (t) => {
      const { io, clients: [main] } = await crew(t, 1);
      const chats = io.of("/chat");
      const chat = main.io.socket("/chat");
      await connected(chat);
      const left = serverSide(io, chat);
      await left.join("room");
      const gone = next(left, "disconnect");
      chat.disconnect();
      assert.deepEqual((await gone).slice(0, 1), ["client namespace disconnect"]);

      assert.deepEqual(await hearing(io, [main], () => io.emit("x", 1)), [[["x", 1]]]);
      chat.connect();
      await connected(chat);
      assert.notEqual(chat.id, left.id);
      const log = new Log(chat);
      chats.to("room").emit("x", "room");
      chats.emit("x", "all");
      chats.emit("end");
      assert.deepEqual(await log.upTo("end"), [["x", "all"]]);
    });

    it("serves namespaces that match an expression or a function", async (t) => {
      const { w, io } = await crew(t, 0);
      const floors = io.of(/^\/floor-\d+$/);
      floors.use((socket, done) => done(socket.nsp.name === "/floor-13" ? new Error("no such floor") : undefined));
      io.of((name, auth, done) => done(null, name === "/secret" && auth.word === "mellon"));
      const there = next(floors, "connection");
      const one = await w.client({ nsp: "/floor-1" });
      const [socket] = await there;
      assert.equal(socket.nsp.name, "/floor-1");
      const two = await w.client({ nsp: "/floor-2" });
      const heard = [one, two].map((client) => new Log(client));
      io.of("/floor-1").emit("x", 1);
      floors.emit("x", "both");
      floors.emit("end");
      assert.deepEqual(await Promise.all(heard.map((log) => log.upTo("end"))), [
        [["x", 1], ["x", "both"]],
        [["x", "both"]],
      ]);

      assert.equal((await refused(w.socket({ nsp: "/floor-13" }))).message, "no such floor");
      assert.equal((await refused(w.socket({ nsp: "/attic" }))).message, "Invalid namespace");
      assert.equal((await refused(w.socket({ nsp: "/secret" }))).message, "Invalid namespace");
      assert.ok(await w.client({ nsp: "/secret", auth: { word: "mellon" } }));
    });

    it("carries binary both ways, nested and in several parts", async (t) => {
      const { clients: [client], sockets: [socket], io } = await crew(t, 1);
      const parts = [Buffer.from([0, 1, 255]), Buffer.alloc(0), randomBytes(70_000)];
      const message = { a: parts[0], list: ["é", parts[1], { deep: parts[2] }], n: null };

      const up = next(socket, "bin");
      client.emit("bin", message, 7);
      assert.deepEqual(await up, [message, 7]);

      for (const emit of [() => socket.emit("bin", message, 7), () => io.emit("bin", message, 7)]) {
        const down = next(client, "bin");
        emit();
        assert.deepEqual(await down, [message, 7]);
      }

      const typed = next(socket, "typed");
      client.emit("typed", new Uint8Array([1, 2, 3]), new Uint8Array([4]).buffer);
      assert.deepEqual((await typed).map((part) => [...part]), [[1, 2, 3], [4]]);
    });

    it("keeps binary, text and acks in order when they alternate", async (t) => {
      const { clients: [client], sockets: [socket] } = await crew(t, 1);
      const up = new Log(socket);
      const down = new Log(client);
      const make = (index) => (index % 3 ? `text ${index}` : Buffer.from([index]));
      const all = Array.from({ length: 60 }, (_, index) => make(index));
      for (const value of all) {
        client.emit("x", value);
        socket.emit("x", value);
      }
      client.emit("end");
      socket.emit("end");
      const expected = all.map((value) => ["x", value]);
      assert.deepEqual(await up.upTo("end"), expected);
      assert.deepEqual(await down.upTo("end"), expected);
    });

    it("carries any text, also in event names", async (t) => {
      const { clients: [client], sockets: [socket], io } = await crew(t, 1);
      const up = next(socket, TRICKY);
      client.emit(TRICKY, TRICKY, { [TRICKY]: [TRICKY] });
      assert.deepEqual(await up, [TRICKY, { [TRICKY]: [TRICKY] }]);
      for (const emitter of [socket, io]) {
        const down = next(client, TRICKY);
        emitter.emit(TRICKY, TRICKY, { [TRICKY]: [TRICKY] });
        assert.deepEqual(await down, [TRICKY, { [TRICKY]: [TRICKY] }]);
      }
    });

    it("carries 900 KB of text and of binary both ways", async (t) => {
      const { clients: [client], sockets: [socket], io } = await crew(t, 1, { maxHttpBufferSize: 2e6 });
      const text = "漢".repeat(300_000);
      // Base64 in the tunnel adds a third.
      const bytes = randomBytes(700_000);
      for (const value of [text, bytes]) {
        const up = next(socket, "big");
        client.emit("big", value);
        assert.deepEqual((await up)[0], value);
        for (const emitter of [socket, io]) {
          const down = next(client, "big");
          emitter.emit("big", value);
          assert.deepEqual((await down)[0], value);
        }
      }
    });

    it("keeps the order of 500 events each way and of 500 to a room", async (t) => {
      const { clients: [client], sockets: [socket], io } = await crew(t, 1);
      await socket.join("room");
      const numbers = Array.from({ length: 500 }, (_, index) => index);
      const up = new Log(socket);
      const down = new Log(client);
      for (const index of numbers) {
        client.emit("up", index);
        io.to("room").emit("room", index);
        socket.emit("down", index);
      }
      assert.deepEqual(await up.values("up", { count: 500 }), numbers);
      assert.deepEqual(await down.values("room", { count: 500 }), numbers);
      assert.deepEqual(await down.values("down", { count: 500 }), numbers);
    });
  });
});

describe("during the upgrade from polling", () => {
  it("loses and reorders nothing", async (t) => {
    const w = world(t, service, "upgrade");
    const io = await w.app();
    const rounds = Array.from({ length: 10 }, async () => {
      const client = w.socket();
      let done = false;
      let sent = 0;
      client.io.engine.once("upgrade", () => (done = true));
      const arrived = new Log(client);
      await connected(client);
      const up = new Log(serverSide(io, client));
      // One at a time, each after the last has arrived, so that they cover every step of the upgrade.
      while (!done || sent < 20) {
        client.emit("up", sent);
        io.to(client.id).emit("down", sent);
        sent += 1;
        await Promise.all([up.values("up", { count: sent }), arrived.values("down", { count: sent })]);
      }
      const numbers = Array.from({ length: sent }, (_, index) => index);
      assert.deepEqual(await up.values("up"), numbers);
      assert.deepEqual(await arrived.values("down"), numbers);
      assert.equal(client.io.engine.transport.name, "websocket");
    });
    await Promise.all(rounds);
  });

  it("keeps a burst in order that is sent before it and one sent into it", async (t) => {
    const w = world(t, service, "upgrade");
    const io = await w.app();
    const numbers = Array.from({ length: 200 }, (_, index) => index);
    io.on("connection", (socket) => {
      const heard = new Log(socket);
      for (const index of numbers) socket.emit("down", index);
      socket.on("up", (index) => {
        if (index === 199) heard.values("up").then((all) => socket.emit("echo", all));
      });
    });
    const client = w.socket();
    const down = new Log(client);
    for (const index of numbers.slice(0, 100)) client.emit("up", index);
    await connected(client);
    for (const index of numbers.slice(100)) client.emit("up", index);
    assert.deepEqual(await down.values("echo", { count: 1 }), [numbers]);
    assert.deepEqual(await down.values("down", { count: 200 }), numbers);
  });
});
