// Connects and refusals, and what the app server learns about a client.

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";

import azure from "@azure/web-pubsub-socket.io";

import { Service } from "../lib/service.mjs";
import { Log, PATIENCE, next } from "../lib/waiting.mjs";
import { TRANSPORTS, connected, overEachTransport, ownSocketIO, refused, serverSide, world } from "../lib/world.mjs";

let service;
before(async () => (service = await Service.start()));
after(() => service.stop());

/** The HTTP status that caused a `connect_error`. */
function statusOf(error) {
  if (error.message === "xhr poll error") return error.description;
  assert.equal(error.message, "websocket error");
  return Number(/Unexpected server response: (\d+)/.exec(error.description.message)[1]);
}

overEachTransport((transport) => {
  describe(`over ${transport}`, () => {
    it("connects, and both sides agree on the ids", async (t) => {
      const w = world(t, service, transport);
      const io = await w.app();
      const there = next(io, "connection");
      const client = await w.client();
      const [socket] = await there;
      assert.equal(socket.id, client.id);
      assert.equal(socket.conn.id, client.io.engine.id);
      assert.equal(client.io.engine.transport.name, TRANSPORTS[transport].at(-1));
    });

    it("receives emits of the connection handler", async (t) => {
      const w = world(t, service, transport);
      const io = await w.app();
      io.on("connection", (socket) => socket.emit("welcome", 1, { two: 2 }));
      const client = w.socket();
      assert.deepEqual(await next(client, "welcome"), [1, { two: 2 }]);
    });

    it("is refused by a middleware, with its message and data", async (t) => {
      const w = world(t, service, transport);
      const io = await w.app();
      io.use((socket, done) => {
        if (socket.handshake.auth.password === "right") return done();
        return done(Object.assign(new Error("not you"), { data: { retry: false, at: ["é", 1] } }));
      });
      io.on("connection", (socket) => socket.on("ask", (answer) => answer("yes")));

      const bad = w.socket({ auth: { password: "wrong" } });
      const error = await refused(bad);
      assert.equal(error.message, "not you");
      assert.deepEqual(error.data, { retry: false, at: ["é", 1] });
      assert.equal(bad.connected, false);

      // The same connection may try again: a refusal closes only the namespace.
      bad.auth = { password: "right" };
      bad.connect();
      await connected(bad);
      assert.equal(await bad.timeout(PATIENCE).emitWithAck("ask"), "yes");
    });

    it("shows the app server query, headers and auth", async (t) => {
      const w = world(t, service, transport);
      const io = await w.app();
      const there = next(io, "connection");
      await w.client({
        query: { room: "é &=+", empty: "" },
        extraHeaders: { "X-Custom": "some value", Cookie: "a=b" },
        auth: { token: "t", deep: { list: [1, null] } },
      });
      const [{ handshake }] = await there;
      assert.equal(handshake.query.room, "é &=+");
      assert.equal(handshake.query.empty, "");
      assert.equal(handshake.query.EIO, "4");
      assert.deepEqual(handshake.headers["x-custom"], ["some value"]);
      assert.deepEqual(handshake.headers.cookie, ["a=b"]);
      assert.deepEqual(handshake.auth, { token: "t", deep: { list: [1, null] } });
    });

    it("shows the app server the access token's claims, never the token", async (t) => {
      const w = world(t, service, transport);
      const io = await w.app();
      const there = next(io, "connection");
      const accessToken = service.token(w.hub, { sub: "bob", colour: "green", lucky: [3, 7] });
      await w.client({ query: { access_token: accessToken } });
      const [{ request, handshake }] = await there;
      assert.deepEqual(request.claims.sub, ["bob"]);
      assert.deepEqual(request.claims.colour, ["green"]);
      assert.deepEqual(request.claims.lucky, ["3", "7"]);
      assert.equal(handshake.query.access_token, undefined);
    });

    it("takes the access token as a header, too", async (t) => {
      const w = world(t, service, transport);
      const io = await w.app();
      const there = next(io, "connection");
      const authorization = `Bearer ${service.token(w.hub, { sub: "eve" })}`;
      await w.client({ extraHeaders: { authorization } });
      const [{ request, handshake }] = await there;
      assert.deepEqual(request.claims.sub, ["eve"]);
      assert.equal(handshake.headers.authorization, undefined);
    });

    it("refuses a forged token and one for another hub", async (t) => {
      const w = world(t, service, transport);
      await w.app();
      for (const accessToken of [`${service.token(w.hub, {})}x`, service.token("other", {})]) {
        const error = await refused(w.socket({ query: { access_token: accessToken } }));
        assert.equal(statusOf(error), 401);
      }
    });

    it("[repair 13] passes a token of the app's own", async (t) => {
      const w = world(t, service, transport);
      const io = await w.app();
      const there = next(io, "connection");
      await w.client({ query: { access_token: "mine" }, extraHeaders: { authorization: "Bearer mine too" } });
      const [{ handshake }] = await there;
      // The SDK has headers as lists, and parameters as strings.
      assert.equal(handshake.query.access_token, "mine");
      assert.deepEqual(handshake.headers.authorization, ["Bearer mine too"]);
    });

    it("finds the hub without the slash at the end, and the default hub at /socket.io/", async (t) => {
      const w = world(t, service, transport);
      const io = await w.app();
      assert.ok(serverSide(io, await w.client({ addTrailingSlash: false })));
      const atDefault = await w.app({ hub: "app" });
      assert.ok(serverSide(atDefault, await w.client({ path: "/socket.io/" })));
    });

    it("answers 503 while the hub has no app server", async (t) => {
      const w = world(t, service, transport);
      assert.equal(statusOf(await refused(w.socket())), 503);
    });

    it("keeps two hubs apart", async (t) => {
      const w = world(t, service, transport);
      const hubs = [w.hub, `${w.hub}_b`];
      const apps = await Promise.all(hubs.map((hub) => w.app({ hub })));
      const clients = await Promise.all(hubs.map((hub) => w.client({ hub })));
      const logs = clients.map((client) => new Log(client));
      await Promise.all(apps.map((io) => io.socketsJoin("room")));
      apps[0].emit("all", "a");
      apps[1].to("room").emit("some", "b");
      apps.forEach((io) => io.emit("end"));
      assert.deepEqual(await Promise.all(logs.map((log) => log.upTo("end"))), [[["all", "a"]], [["some", "b"]]]);
      assert.equal(apps[0].sockets.sockets.has(clients[1].id), false);
    });
  });
});

describe("the package's helpers", () => {
  it("works by the method that the package adds to its own socket.io", async (t) => {
    const w = world(t, service);
    const { createServer } = await import("node:http");
    const io = new ownSocketIO.Server(createServer());
    t.after(() => io.close());
    await io.useAzureSocketIO({ hub: w.hub, connectionString: service.connectionString() });
    io.on("connection", (socket) => socket.on("ask", (answer) => answer("yes")));
    assert.equal(await (await w.client()).timeout(PATIENCE).emitWithAck("ask"), "yes");
  });

  it("takes the hub's name in any case", async (t) => {
    const w = world(t, service);
    const io = await w.app({ hub: w.hub.toUpperCase() });
    const client = await w.client({ hub: w.hub.toLowerCase() });
    assert.ok(serverSide(io, client));
  });

  overEachTransport((transport) => {
    it(`negotiates, over ${transport}`, async (t) => {
      const w = world(t, service, transport);
      const io = await w.app({ ServerClass: ownSocketIO.Server });
      const handler = azure.negotiate(io, async () => ({ userId: "carol", expirationTimeInMinutes: 5 }));
      const invitation = await invite(io, handler);
      assert.deepEqual(Object.keys(invitation).sort(), ["endpoint", "path", "token"]);
      assert.equal(invitation.endpoint, service.url);
      assert.equal(invitation.path, `/clients/socketio/hubs/${w.hub}`);

      const there = next(io, "connection");
      const client = w.socket({
        url: invitation.endpoint,
        path: invitation.path,
        query: { access_token: invitation.token },
      });
      await connected(client);
      const [{ request }] = await there;
      assert.deepEqual(request.claims.userId, ["carol"]);
      assert.deepEqual(request.claims.sub, ["carol"]);
      assert.equal(await userOf(client), "carol");
    });
  });

  it("negotiates anonymously without a callback", async (t) => {
    const w = world(t, service);
    const io = await w.app({ ServerClass: ownSocketIO.Server });
    const invitation = await invite(io, azure.negotiate(io));
    const there = next(io, "connection");
    await w.client({ query: { access_token: invitation.token } });
    const [{ request }] = await there;
    assert.equal(request.claims.sub, undefined);
  });

  it("carries a passport through negotiate to the socket", async (t) => {
    const w = world(t, service);
    const io = await w.app({ ServerClass: ownSocketIO.Server });
    // Passport leaves the logged-in user in `req.user`.
    const negotiated = azure.negotiate(io, azure.usePassport());
    const invitation = await invite(io, (request, response, done) => {
      request.user = { id: "dave", name: "Dave" };
      return negotiated(request, response, done);
    });
    const wrap = (middleware) => (socket, done) => middleware(socket.request, {}, done);
    io.use(wrap(azure.restorePassport()));
    const there = next(io, "connection");
    await w.client({ query: { access_token: invitation.token } });
    const [{ request }] = await there;
    assert.deepEqual(request.session, { passport: { user: "dave" } });
  });

  /** GET /negotiate from the app server's own HTTP server. */
  async function invite(io, handler) {
    io.http.on("request", (request, response) => {
      if (request.url.startsWith("/negotiate")) handler(request, response, () => {});
    });
    const answer = await fetch(`http://127.0.0.1:${io.http.address().port}/negotiate`);
    assert.equal(answer.status, 200);
    return answer.json();
  }

  /** The user id that the service knows the client by, from its own log of the disconnect. */
  async function userOf(client) {
    const connection = client.io.engine.id;
    client.disconnect();
    return (await service.record({ connection })).user;
  }
});
