// All ways in which a socket can end, and the reason that each side gets (the same as natively).

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";

import { Service } from "../lib/service.mjs";
import { Log, next } from "../lib/waiting.mjs";
import { connected, hearing, overEachTransport, serverSide, world } from "../lib/world.mjs";

let service;
before(async () => (service = await Service.start()));
after(() => service.stop());

/** Breaks the client's connection without a close. */
function vanish(client) {
  const transport = client.io.engine.transport;
  if (transport.name === "websocket") {
    transport.ws.terminate();
  } else {
    transport.doPoll = () => {};
    transport.pollXhr.abort();
  }
}

overEachTransport((transport) => {
  describe(`over ${transport}`, () => {
    // A polling client that shall reconnect gets an error status instead of Engine.IO's close packet.
    const letGo = transport === "polling" ? "transport error" : "transport close";

    async function pair(t, options = {}) {
      const w = world(t, service, transport);
      const io = await w.app(options);
      const client = await w.client();
      return { w, io, client, socket: serverSide(io, client) };
    }

    /** The reasons, [client's, server's], with which `act` ends a socket. */
    async function reasons(client, socket, act) {
      const ends = [next(client, "disconnect"), next(socket, "disconnect")];
      await act();
      return (await Promise.all(ends)).map(([reason]) => reason);
    }

    /** The service's log record of the end of the connection. */
    async function logged(connection) {
      const { who, reason } = await service.record({ connection });
      return [who, reason];
    }

    it("client.disconnect()", async (t) => {
      const { client, socket } = await pair(t);
      const got = await reasons(client, socket, () => client.disconnect());
      assert.deepEqual(got, ["io client disconnect", "client namespace disconnect"]);
      assert.deepEqual(await logged(socket.conn.id), ["client", "client-closed"]);
    });

    it("a client's last events arrive before its disconnect", async (t) => {
      const { client, socket } = await pair(t);
      const heard = [];
      socket.onAny((...event) => heard.push(event));
      const got = await reasons(client, socket, () => {
        for (let n = 0; n < 20; n += 1) client.emit("last", n);
        client.disconnect();
      });
      assert.deepEqual(got, ["io client disconnect", "client namespace disconnect"]);
      assert.deepEqual(heard, Array.from({ length: 20 }, (_, n) => ["last", n]));
    });

    it("the client closes its engine", async (t) => {
      const { client, socket } = await pair(t);
      const got = await reasons(client, socket, () => client.io.engine.close());
      assert.deepEqual(got, ["forced close", "transport close"]);
      assert.deepEqual(await logged(socket.conn.id), ["client", "client-closed"]);
    });

    it("the client vanishes", async (t) => {
      const { client, socket } = await pair(t, { pingInterval: 300, pingTimeout: 500 });
      const gone = next(socket, "disconnect");
      vanish(client);
      const [reason] = await gone;
      // A broken WebSocket is noticed at once, a client that stops polling by its missing pong.
      assert.match(reason, transport === "polling" ? /ping timeout|transport close/ : /transport close/);
    });

    for (const close of [undefined, false]) {
      it(`socket.disconnect(${close ?? ""})`, async (t) => {
        const { client, socket } = await pair(t);
        const got = await reasons(client, socket, () => socket.disconnect(close));
        assert.deepEqual(got, ["io server disconnect", "server namespace disconnect"]);
      });
    }

    it("socket.disconnect(true)", async (t) => {
      const { client, socket } = await pair(t);
      const closed = next(client.io, "close");
      const got = await reasons(client, socket, () => socket.disconnect(true));
      assert.deepEqual(got, ["io server disconnect", "server namespace disconnect"]);
      await closed;
      assert.deepEqual(await logged(socket.conn.id), ["app", "app-closed"]);
    });

    it("socket.disconnect(), and in again without its rooms", async (t) => {
      const { io, client, socket } = await pair(t);
      await socket.join("room");
      await reasons(client, socket, () => socket.disconnect());
      client.connect();
      await connected(client);
      assert.notEqual(client.id, socket.id);
      const heard = await hearing(io, [client], () => io.to("room").emit("x", 1));
      assert.deepEqual(heard, [[]]);
    });

    it("io.disconnectSockets()", async (t) => {
      const { w, io, client, socket } = await pair(t);
      const other = await w.client();
      await socket.join("out");
      const got = await reasons(client, socket, () => io.in("out").disconnectSockets());
      assert.deepEqual(got, ["io server disconnect", "client namespace disconnect"]);
      assert.equal(other.connected, true);
    });

    it("io.disconnectSockets(), and in again on the same connection", async (t) => {
      const { io, client, socket } = await pair(t);
      // Without a second namespace, the stock client would close its connection.
      const chats = io.of("/chat");
      const chat = client.io.socket("/chat");
      await connected(chat);
      await reasons(client, socket, () => io.disconnectSockets());
      client.connect();
      await connected(client);
      assert.equal(serverSide(io, client).conn, socket.conn);
      assert.equal(serverSide(io, chat).conn, socket.conn);
      const heard = new Log(chat);
      chats.emit("end");
      assert.deepEqual(await heard.upTo("end"), []);
    });

    it("io.disconnectSockets(true)", async (t) => {
      const { w, io, client, socket } = await pair(t);
      const other = await w.client();
      await socket.join("out");
      const closed = next(client.io, "close");
      const got = await reasons(client, socket, () => io.in("out").disconnectSockets(true));
      assert.deepEqual(got, ["io server disconnect", "transport close"]);
      await closed;
      assert.equal(other.connected, true);
      assert.deepEqual(await logged(socket.conn.id), ["app", "app-closed"]);
    });

    it("io.of(…).disconnectSockets() leaves the other namespaces", async (t) => {
      const { io, client } = await pair(t);
      io.of("/chat");
      const chat = client.io.socket("/chat");
      await connected(chat);
      const got = await reasons(chat, serverSide(io, chat), () => io.of("/chat").disconnectSockets());
      assert.deepEqual(got, ["io server disconnect", "client namespace disconnect"]);
      assert.deepEqual(await hearing(io, [client], () => io.emit("x", 1)), [[["x", 1]]]);
    });

    it("socket.conn.close()", async (t) => {
      const { client, socket } = await pair(t);
      const got = await reasons(client, socket, () => socket.conn.close());
      assert.deepEqual(got, [letGo, "forced close"]);
      assert.deepEqual(await logged(socket.conn.id), ["app", "app-let-go"]);
    });

    it("emits before socket.conn.close() arrive", async (t) => {
      const { client, socket } = await pair(t);
      const heard = [];
      client.onAny((...event) => heard.push(event));
      const got = await reasons(client, socket, () => {
        for (let n = 0; n < 20; n += 1) socket.emit("last", n);
        socket.conn.close();
      });
      assert.deepEqual(got, [letGo, "forced close"]);
      assert.deepEqual(heard, Array.from({ length: 20 }, (_, n) => ["last", n]));
    });

    it("ping timeout", async (t) => {
      const { client, socket } = await pair(t, { pingInterval: 200, pingTimeout: 300 });
      // From here on the client receives everything and sends nothing.
      const got = await reasons(client, socket, () => (client.io.engine._sendPacket = () => {}));
      assert.deepEqual(got, [letGo, "ping timeout"]);
      assert.deepEqual(await logged(socket.conn.id), ["app", "app-let-go"]);
    });

    it("pings keep a quiet client", async (t) => {
      const { io, client } = await pair(t, { pingInterval: 100, pingTimeout: 2000 });
      for (let pings = 0; pings < 5; pings += 1) await next(client.io, "ping");
      assert.equal(client.connected, true);
      assert.ok(serverSide(io, client));
    });

    it("io.close()", async (t) => {
      const { io, client, socket } = await pair(t);
      const got = await reasons(client, socket, () => io.close());
      // The package closes the socket and its connection at the same time. Clients must reconnect, as natively, so
      // the service forwards only the close of the connection.
      assert.equal(got[0], letGo);
      assert.equal(got[1], "server shutting down");
    });
  });
});
