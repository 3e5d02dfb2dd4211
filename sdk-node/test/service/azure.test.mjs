// Code written for Azure's SDK, and Azure's SDK itself on the same hub.

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { after, before, describe, test } from "node:test";

import { Server } from "socket.io";

import { negotiate, restorePassport, useAzureSocketIO, usePassport } from "../../dist/esm/index.js";
import { Service } from "../../../tests/node/lib/service.mjs";
import { next, poll } from "../../../tests/node/lib/waiting.mjs";
import { hearing, world } from "../support/world.mjs";

// The published package, from the packages of the service's own tests.
const azure = createRequire(new URL("../../../tests/node/package.json", import.meta.url))("@azure/web-pubsub-socket.io");

let service;
before(async () => (service = await Service.start()));
after(() => service.stop());

/** Serves `handler` at every path; returns the URL. */
async function web(w, handler) {
  const server = createServer(handler);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  w.atEnd(() => server.close());
  return `http://127.0.0.1:${server.address().port}/negotiate`;
}

/** A client that negotiates first, and its socket on `io`. */
async function negotiated(w, io, url) {
  const answer = await (await fetch(url)).json();
  const { endpoint, path, token } = answer;
  assert.deepEqual([endpoint, path], [service.url, `/clients/socketio/hubs/${w.hub}`]);
  const arrived = next(io, "connection");
  await w.client({ url: endpoint, path, query: { access_token: token } });
  const [socket] = await arrived;
  return socket;
}

describe("Azure's names", () => {
  for (const [name, start] of [
    ["useAzureSocketIO(io)", (io, options) => useAzureSocketIO(io, options)],
    ["io.useAzureSocketIO", (io, options) => io.useAzureSocketIO(options)],
  ]) {
    test(`${name} takes a connection string or a credential, and resolves with the server`, async (t) => {
      const w = world(t, service);
      const [io, other] = [new Server(createServer()), new Server()];
      w.atEnd(() => Promise.all([io.close(), other.close()]));
      assert.equal(await start(io, { hub: w.hub, connectionString: service.connectionString() }), io);
      await w.pair(io);
      const credential = { key: service.key };
      await start(other, { hub: w.hub, endpoint: service.url, credential, reverseProxyEndpoint: service.url });
      await w.pair(other);
      const again = start(new Server(), { hub: w.hub, endpoint: service.url, credential: { getToken() {} } });
      await assert.rejects(again, /credential must have the access key/);
    });
  }

  test("negotiate returns tokens with the user's id", async (t) => {
    const w = world(t, service);
    const io = await w.app();
    const url = await web(w, negotiate(io, async (request) => ({ userId: new URL(request.url, "http://x").searchParams.get("id"), expirationTimeInMinutes: 5 })));
    const socket = await negotiated(w, io, `${url}?id=ada`);
    assert.deepEqual(socket.request.claims.userId, ["ada"]);
    const { exp, iat } = socket.request.claims;
    assert.equal(Number(exp[0]) - Number(iat[0]), 300);
    const options = { hub: w.hub, connectionString: service.connectionString() };
    const nobody = await negotiated(w, io, await web(w, negotiate(options)));
    assert.equal(nobody.request.userId, null);
    assert.throws(() => negotiate(new Server()), /call useMoorage/);
  });

  test("negotiate answers 500 if the app's function fails", async (t) => {
    const w = world(t, service);
    const warned = t.mock.method(console, "warn", () => {});
    const url = await web(w, negotiate(await w.app(), () => Promise.reject(new Error("no database"))));
    const answer = await fetch(url);
    assert.equal(answer.status, 500);
    assert.deepEqual(await answer.json(), { message: "Internal Server Error" });
    assert.match(warned.mock.calls[0].arguments[0], /negotiate failed: no database/);
  });

  test("[repair 28] negotiate rejects user ids that the service would reject, and its answers are not cached", async (t) => {
    const w = world(t, service);
    const warned = t.mock.method(console, "warn", () => {});
    const io = await w.app();
    for (const [userId, status] of [["7", 200], [7, 500], [0, 500]]) {
      const answer = await fetch(await web(w, negotiate(io, () => ({ userId }))));
      assert.deepEqual([answer.status, answer.headers.get("cache-control")], [status, "no-store"]);
    }
    assert.match(warned.mock.calls[0].arguments[0], /userId must be a string, not 7/);
  });

  test("usePassport and restorePassport transfer passport's user", async (t) => {
    const w = world(t, service);
    const io = await w.app();
    io.engine.use(restorePassport());
    const handler = negotiate(io, usePassport());
    const url = await web(w, (request, response) => {
      request.user = { id: 7, name: "Ada" };
      void handler(request, response);
    });
    const socket = await negotiated(w, io, `${url}?expirationMinutes=2`);
    assert.deepEqual(socket.request.session, { passport: { user: "7" } });
    assert.equal(Number(socket.request.claims.exp[0]) - Number(socket.request.claims.iat[0]), 120);
    const { socket: anonymous } = await w.pair(io);
    assert.equal(anonymous.request.session, undefined);
    assert.throws(() => usePassport(""), /assignProperty/);
  });
});

describe("an app server with Azure's own SDK on the same hub", () => {
  /** An app server with each SDK, and a client of each. */
  async function mixed(w) {
    const http = createServer();
    http.listen(0, "127.0.0.1");
    await once(http, "listening");
    const theirs = new Server(http);
    w.atEnd(() => theirs.close());
    await azure.useAzureSocketIO(theirs, { hub: w.hub, connectionString: service.connectionString() });
    const ours = await w.app();
    return { ours, theirs, a: await w.pairAt(ours), b: await w.pairAt(theirs) };
  }

  test("exchanges emits with this SDK, and shares its rooms", async (t) => {
    const w = world(t, service);
    const { ours, theirs, a, b } = await mixed(w);
    await Promise.all([a.socket.join("red"), b.socket.join("red")]);
    const both = [["all", "red"], ["all", "red"]];
    for (const io of [ours, theirs]) {
      const heard = await hearing(io, [a.client, b.client], async () => {
        io.emit("all");
        io.to("red").emit("red");
      });
      assert.deepEqual(heard, both);
    }
    b.client.on("who", (answer) => answer("b"));
    assert.deepEqual(await ours.to(b.socket.id).timeout(5000).emitWithAck("who"), ["b"]);
  });

  test("has its sockets fetched, moved and disconnected by this SDK", async (t) => {
    const w = world(t, service);
    const { ours, b } = await mixed(w);
    assert.equal(await ours.of("/").adapter.serverCount(), 2);
    const [found] = await ours.in(b.socket.id).fetchSockets();
    assert.equal(found.id, b.client.id);
    assert.equal(typeof found.handshake.headers, "object");
    ours.in(b.socket.id).socketsJoin("blue");
    const heard = await hearing(ours, [b.client], () => ours.to("blue").emit("blue"));
    assert.deepEqual(heard, [["blue"]]);
    const left = next(b.client, "disconnect");
    const gone = next(b.socket, "disconnect");
    ours.in("blue").disconnectSockets();
    assert.equal((await left)[0], "io server disconnect");
    await gone;
    await poll(async () => (await ours.in(b.socket.id).fetchSockets()).length === 0, "its end");
  });
});
