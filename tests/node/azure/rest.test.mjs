// The data plane with npm's unmodified @azure/web-pubsub, and stock clients on the other side.

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";

import { WebPubSubServiceClient } from "@azure/web-pubsub";

import { Service } from "../lib/service.mjs";
import { Log, next, poll } from "../lib/waiting.mjs";
import { refused, world } from "../lib/world.mjs";

let service;
before(async () => (service = await Service.start()));
after(() => service.stop());

const b64 = (text) => Buffer.from(text).toString("base64url");
const room = (name, nsp = "/") => `0~${b64(nsp)}~${b64(name)}`;
const TEXT = { contentType: "text/plain" };

/** `moorage dev` uses plain HTTP, which the SDK allows only explicitly. */
function restClient(w) {
  return new WebPubSubServiceClient(service.connectionString(), w.hub, { allowInsecureConnection: true });
}

/** The events that each client receives before a fence that takes the same way. */
async function heard(rest, clients, act) {
  const logs = clients.map((client) => new Log(client));
  await act();
  await rest.sendToAll('42["fence"]', TEXT);
  return Promise.all(logs.map(async (log) => (await log.upTo("fence")).map(([name]) => name)));
}

/** The connection ids and, with `users`, tokens as the SDK makes them. */
async function setUp(t, users) {
  const w = world(t, service);
  await w.app();
  const rest = restClient(w);
  const clients = [];
  for (const user of users) {
    const { token } = await rest.getClientAccessToken({ userId: user, clientProtocol: "socketio" });
    clients.push(await w.client({ query: { access_token: token } }));
  }
  return { w, rest, clients, ids: clients.map((client) => client.io.engine.id) };
}

describe("npm @azure/web-pubsub", () => {
  it("makes tokens that the service accepts, with a user id", async (t) => {
    const { rest, ids } = await setUp(t, ["ada"]);
    assert.equal(await rest.userExists("ada"), true);
    assert.equal(await rest.userExists("bob"), false);
    assert.equal(await rest.connectionExists(ids[0]), true);
    assert.equal(await rest.connectionExists("nobody"), false);
  });

  it("a token of another key is refused", async (t) => {
    const w = world(t, service);
    await w.app();
    const other = service.connectionString().replace(/AccessKey=[^;]*/, `AccessKey=${"x".repeat(32)}`);
    const rest = new WebPubSubServiceClient(other, w.hub, { allowInsecureConnection: true });
    const { token } = await rest.getClientAccessToken({ userId: "eve" });
    const error = await refused(w.socket({ query: { access_token: token } }));
    assert.match(error.description.message, /401/);
    await assert.rejects(rest.sendToAll('42["hi"]', TEXT), (refusal) => refusal.statusCode === 401);
  });

  it("sends to all, to a user, to a connection, with filters", async (t) => {
    const { rest, clients, ids } = await setUp(t, ["ada", "ada", "bob"]);
    const names = await heard(rest, clients, async () => {
      await rest.sendToAll('42["all",1]', TEXT);
      await rest.sendToAll('42["filtered"]', { ...TEXT, filter: "userId eq 'bob'" });
      await rest.sendToUser("ada", '42["user"]', TEXT);
      await rest.sendToConnection(ids[0], '42["one"]', TEXT);
    });
    assert.deepEqual(names, [["all", "user", "one"], ["all", "user"], ["all", "filtered"]]);
  });

  it("groups: add, remove, send, exists", async (t) => {
    const { rest, clients, ids } = await setUp(t, ["ada", "bob", "cy"]);
    const group = rest.group(room("r"));
    await group.addConnection(ids[0]);
    await group.addUser("bob");
    assert.equal(await rest.groupExists(room("r")), true);
    assert.equal(await rest.groupExists(room("other")), false);
    const names = await heard(rest, clients, async () => {
      await group.sendToAll('42["room"]', TEXT);
      await group.sendToAll('42["some"]', { ...TEXT, filter: "userId ne 'bob'" });
      await group.removeUser("bob");
      await group.sendToAll('42["left"]', TEXT);
      await group.removeConnection(ids[0]);
      await group.sendToAll('42["nobody"]', TEXT);
    });
    assert.deepEqual(names, [["room", "some", "left"], ["room"], []]);
    assert.equal(await rest.groupExists(room("r")), false);
  });

  it("adds and removes many by filter; rooms are the app server's rooms", async (t) => {
    const { rest, clients } = await setUp(t, ["ada", "bob"]);
    const names = await heard(rest, clients, async () => {
      await rest.addConnectionsToGroups([room("a"), room("b")], "userId eq 'ada'");
      await rest.group(room("b")).sendToAll('42["b"]', TEXT);
      await rest.removeConnectionsFromGroups([room("b")], "userId eq 'ada'");
      await rest.group(room("b")).sendToAll('42["gone"]', TEXT);
      await rest.removeUserFromAllGroups("ada");
      await rest.group(room("a")).sendToAll('42["gone"]', TEXT);
    });
    assert.deepEqual(names, [["b"], []]);
  });

  it("lists the connections of a group page by page", async (t) => {
    const { rest, ids } = await setUp(t, ["ada", "bob", "cy", "dee", "eve"]);
    const group = rest.group(room("page"));
    for (const id of ids) await group.addConnection(id);
    const found = [];
    const pages = await group.listConnections({ maxPageSize: 2 });
    for await (const page of pages.byPage()) {
      assert.ok(page.length <= 2);
      found.push(...page);
    }
    assert.deepEqual(found.map((member) => member.connectionId).sort(), [...ids].sort());
    assert.deepEqual(found.map((member) => member.userId).sort(), ["ada", "bob", "cy", "dee", "eve"]);
  });

  it("closes a connection, a user's, a group's, all", async (t) => {
    const { rest, clients, ids } = await setUp(t, ["ada", "bob", "cy", "dee"]);
    const ends = clients.map((client) => next(client, "disconnect"));
    await rest.closeConnection(ids[0], { reason: "enough" });
    assert.deepEqual((await ends[0])[0], "transport close");
    await rest.closeUserConnections("bob");
    await ends[1];
    await rest.group(room("g")).addConnection(ids[2]);
    await rest.group(room("g")).closeAllConnections();
    await ends[2];
    assert.equal(await rest.connectionExists(ids[3]), true);
    await rest.closeAllConnections();
    await ends[3];
    await poll(async () => !(await rest.userExists("dee")), "the end of the last");
  });

  it("names the fault of a request", async (t) => {
    const { rest } = await setUp(t, ["ada"]);
    // Called one after the other: a refusal that arrives before it is awaited would fail the test.
    const refusals = [
      [() => rest.sendToAll('42["hi"]', { ...TEXT, filter: "userId eq" }), 400, "api-bad-filter"],
      [() => rest.sendToAll({ json: true }), 415, "api-bad-content-type"],
      [() => rest.sendToAll("nonsense", TEXT), 400, "api-bad-payload"],
      [() => rest.grantPermission("c", "joinLeaveGroup"), 404, "api-no-permissions"],
    ];
    for (const [call, status, code] of refusals) {
      await assert.rejects(call, (error) => error.statusCode === status && error.code === code, code);
    }
  });
});
