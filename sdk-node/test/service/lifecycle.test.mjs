// Links that break and return, services that stop, app servers that stop.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, before, describe, test } from "node:test";

import { Server } from "socket.io";

import { MoorageError, useMoorage } from "../../dist/esm/index.js";
import { Proxy } from "../../../tests/node/lib/proxy.mjs";
import { Service } from "../../../tests/node/lib/service.mjs";
import { Log, next, poll } from "../../../tests/node/lib/waiting.mjs";
import { world } from "../support/world.mjs";

let service;
before(async () => (service = await Service.start()));
after(() => service.stop());

/** An app server behind a proxy. */
async function proxied(w, options = {}) {
  const proxy = await Proxy.start(service.port);
  w.atEnd(() => proxy.close());
  return { proxy, io: await w.app({ endpoint: proxy.url, ...options }) };
}

describe("a cut link", () => {
  test("loses and reorders nothing, and reports it", async (t) => {
    const w = world(t, service);
    const { proxy, io } = await proxied(w);
    const { client, socket } = await w.pair(io);
    const log = new Log(client);
    const heard = new Log(socket);
    const lost = next(io.moorage, "lost");
    client.emit("up", 0);
    socket.emit("down", 0);
    await proxy.cut();
    assert.equal((await lost)[0] instanceof MoorageError, true);
    assert.equal(io.moorage.connected, false);
    for (let i = 1; i < 50; i += 1) {
      if (i % 2) socket.emit("down", i);
      else io.emit("down", i);
      client.emit("up", i);
    }
    const joined = socket.join("red");
    assert.equal(io.moorage.queuedBytes > 0, true);
    const restored = next(io.moorage, "restored");
    await proxy.restore();
    assert.deepEqual(await restored, [true]);
    await joined;
    const wanted = Array.from({ length: 50 }, (_, i) => i);
    assert.deepEqual(await log.values("down", { count: 50 }), wanted);
    assert.deepEqual(await heard.values("up", { count: 50 }), wanted);
  });

  test("makes emits throw once too much waits, and recovers afterwards", async (t) => {
    const w = world(t, service);
    const { proxy, io } = await proxied(w, { moorage: { maxQueueBytes: 20_000 } });
    const { client, socket } = await w.pair(io);
    const lost = next(io.moorage, "lost");
    await proxy.cut();
    await lost;
    const emit = () => {
      for (let i = 0; i < 100; i += 1) socket.emit("fill", "x".repeat(1000));
    };
    assert.throws(emit, (error) => error instanceof MoorageError && error.reason === "link-overflow");
    assert.throws(() => io.emit("fill", "x".repeat(20_000)), /link|wait/);
    assert.equal(io.volatile.emit("not at all"), true);
    const restored = next(io.moorage, "restored");
    await proxy.restore();
    await restored;
    const end = next(client, "end");
    io.emit("end");
    await end;
  });

  test("is one log line without a listener", async (t) => {
    const w = world(t, service);
    const lines = [];
    const { proxy, io } = await proxied(w, { moorage: { log: (line) => lines.push(line) } });
    await proxy.cut();
    await poll(() => lines.length === 1, "a line");
    assert.match(lines[0], /^lost the link, reconnecting\. The link to http:\S+ .*\.$/);
    await proxy.restore();
    await poll(() => lines.length === 2, "a second line");
    assert.match(lines[1], /restored the link .*; nothing was lost/);
    assert.equal(io.moorage.connected, true);
  });
});

describe("a service", () => {
  test("that is restarted has lost the clients; the app server gets new ones", async (t) => {
    const own = await Service.start();
    t.after(() => own.kill());
    const w = world(t, own);
    const io = await w.app();
    const { client, socket } = await w.pair(io);
    client.io.reconnection(true);
    const gone = next(socket, "disconnect");
    const restored = next(io.moorage, "restored");
    const lost = next(io.moorage, "lost");
    await own.kill();
    await lost;
    const failed = assert.rejects(io.fetchSockets(), (error) => error.reason === "session-lost");
    const back = next(io, "connection");
    await own.restart();
    assert.deepEqual(await restored, [false]);
    assert.equal((await gone)[0], "transport close");
    await failed;
    await back;
    const hello = next(client, "hello");
    io.emit("hello");
    await hello;
  });
});

describe("an app server that ends", () => {
  test("by io.close gives its clients to another one, after its last emits", async (t) => {
    const w = world(t, service);
    const one = await w.app();
    const { client, socket } = await w.pair(one, { reconnection: true, reconnectionDelay: 10 });
    const two = await w.app();
    const log = new Log(client);
    const arrived = next(two, "connection");
    const reasons = [];
    socket.on("disconnect", (reason) => {
      reasons.push(reason);
      one.emit("last words");
    });
    await one.close();
    assert.deepEqual(reasons, ["server shutting down"]);
    await log.upTo("last words");
    await arrived;
    await poll(() => client.connected, "the client's return");
    assert.equal(two.of("/").sockets.has(client.id), true);
    assert.equal(one.moorage.connected, false);
  });

  test("by moorage.close lets clients finish, and takes no new ones", async (t) => {
    const w = world(t, service);
    const [one, two] = [await w.app(), await w.app()];
    const { client } = await w.pairAt(one);
    const ended = one.moorage.close({ drain: 20_000 });
    await poll(async () => (await w.pair(two)) && true, "a client at the other one");
    const before = one.engine.clientsCount;
    await w.pair(two);
    assert.equal(one.engine.clientsCount, before);
    client.disconnect();
    for (const socket of one.of("/").sockets.values()) socket.disconnect(true);
    await ended;
    assert.equal(one.moorage.connected, false);
  });

  test("waits no longer than its drain time", async (t) => {
    const w = world(t, service);
    const io = await w.app();
    const { client } = await w.pair(io);
    const gone = next(client, "disconnect");
    await io.moorage.close({ drain: 50 });
    assert.equal((await gone)[0], "transport close");
  });
});

describe("a server with an HTTP server of its own", () => {
  test("refers direct clients to the service, and keeps middlewares and listeners", async (t) => {
    const w = world(t, service);
    const http = createServer((_request, response) => response.end("mine"));
    await new Promise((resolve) => http.listen(0, "127.0.0.1", resolve));
    const io = new Server(http, { pingInterval: 11_000 });
    const seen = [];
    io.engine.use((request, _response, go) => {
      seen.push(request.url);
      go();
    });
    io.engine.on("connection", (conn) => seen.push(conn.id));
    io.engine.on("connection_error", ({ code }) => seen.push(code));
    await w.app({ io });
    const url = `http://127.0.0.1:${http.address().port}`;
    const direct = await fetch(`${url}/socket.io/?EIO=4&transport=polling`);
    assert.equal(direct.status, 403);
    assert.match((await direct.json()).message, /clients connect to Moorage: io\("http/);
    assert.equal((await fetch(`${url}/socket.io/socket.io.js`)).status, 200);
    assert.equal(await (await fetch(url)).text(), "mine");
    const { socket } = await w.pair(io);
    assert.equal(seen.includes(socket.conn.id), true);
    assert.equal(io.engine.opts.pingInterval, 11_000);
    await io.close();
    assert.equal(http.listening, false);
  });

  test("that listens only afterwards gets an error about direct clients", async (t) => {
    const w = world(t, service);
    const io = await w.app();
    const http = createServer();
    await new Promise((resolve) => http.listen(0, "127.0.0.1", resolve));
    io.attach(http);
    const complaint = next(io.moorage, "error");
    const client = w.socket({ url: `http://127.0.0.1:${http.address().port}`, path: "/socket.io" });
    assert.match((await complaint)[0].message, /directly instead of to Moorage/);
    w.errors.length = 0;
    client.disconnect();
  });
});

describe("useMoorage fails at once", () => {
  const fails = async (options, reason, message, io = new Server()) => {
    await assert.rejects(useMoorage(io, options), (error) => {
      assert.equal(error instanceof MoorageError, true, String(error));
      assert.match(error.message, message);
      assert.equal(error.reason, reason);
      return true;
    });
  };
  const key = "k".repeat(32);

  test("for invalid options", async () => {
    await fails({}, "options", /"hub" is missing/);
    await fails(undefined, "options", /"hub" is missing/);
    await fails({ hub: "h" }, "options", /"connectionString" is missing/);
    await fails({ hub: "h", connectionString: "nonsense" }, "connection-string", /has no Endpoint/);
    await fails({ hub: "h", connectionString: "Endpoint=http://x" }, "connection-string", /has no AccessKey/);
    const good = { hub: "h", connectionString: `Endpoint=http://localhost:1;AccessKey=${key};` };
    await fails(good, "server", /must be a socket.io Server/, {});
    const parser = {
      Encoder: class {
        encode(packet) {
          return [Buffer.from(JSON.stringify(packet))];
        }
      },
      Decoder: class {},
    };
    await fails(good, "parser", /option `parser`/, new Server({ parser }));
  });

  test("for an absent service, another key, an unknown hub", async () => {
    const nobody = `Endpoint=http://127.0.0.1:1;AccessKey=${key};`;
    await fails({ hub: "h", connectionString: nobody }, "service-unreachable", /127.0.0.1:1/);
    const wrong = `Endpoint=${service.url};AccessKey=${key};`;
    await fails({ hub: "h", connectionString: wrong }, "token-signature", /AccessKey|key/);
    const badHub = { hub: "!", connectionString: service.connectionString() };
    await assert.rejects(useMoorage(new Server(), badHub), /hub/i);
  });

  test("for a server that was connected to a service before", async (t) => {
    const w = world(t, service);
    const io = await w.app();
    await fails({ hub: w.hub, connectionString: service.connectionString() }, "server", /connected to a service before/, io);
  });

  test("and does not change the server", async (t) => {
    const io = new Server();
    const adapter = io.of("/").adapter;
    await assert.rejects(useMoorage(io, { hub: "h", connectionString: `Endpoint=${service.url};AccessKey=${key};` }));
    assert.equal(io.of("/").adapter, adapter);
    const w = world(t, service);
    await w.app({ io });
    await w.pair(io);
  });
});

describe("values that cannot be serialised make the emit throw, with their path", () => {
  test("BigInt, circles, Blobs", async (t) => {
    const w = world(t, service);
    const io = await w.app();
    const { client, socket } = await w.pair(io);
    const circle = { list: [] };
    circle.list.push({ back: circle });
    assert.throws(() => socket.emit("a", 1, { id: 5n }), /"a", argument 2, .id is a BigInt/);
    assert.throws(() => io.emit("b", circle), /"b", argument 1, .list\[0\].back is a circular reference/);
    assert.throws(() => io.to("r").emit("c", [new Blob(["x"])]), /"c", argument 1, \[0\] is a Blob/);
    assert.throws(() => io.serverSideEmit("d", { x: 1n }), /"d", argument 1, .x is a BigInt/);
    assert.throws(() => io.timeout(10).emit("e", 1n, () => {}), /"e", argument 1 is a BigInt/);
    const failed = new Promise((resolve) => socket.on("ask", (answer) => {
      try {
        answer({ n: 1n });
      } catch (error) {
        resolve(error);
      }
    }));
    client.emit("ask", () => {});
    assert.match((await failed).message, /argument 1, .n is a BigInt/);
    socket.data = { big: 1n };
    const other = await w.app();
    const complaint = next(io.moorage, "error");
    const sockets = await other.fetchSockets();
    assert.equal(sockets.length, 1);
    assert.match((await complaint)[0].message, /data of socket .* is not fetched: .*.data.big is a BigInt/);
    w.errors.length = 0;
  });
});
