// Actions of the Admin API on clients whose app server speaks Azure's dialect, on one node and on three nodes that are
// joined by a real nats-server.

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";

import { NatsServer } from "../lib/nats.mjs";
import { Service } from "../lib/service.mjs";
import { next, poll } from "../lib/waiting.mjs";
import { world } from "../lib/world.mjs";

const KEY = "o".repeat(32);

/** Calls the Admin API of a service: the status and the JSON of the answer. */
async function call(service, path, body) {
  const headers = { authorization: `Bearer ${KEY}`, "content-type": "application/json" };
  const method = body ? "POST" : "GET";
  const answer = await fetch(`${service.url}/api/v1${path}`, { method, headers, body: body && JSON.stringify(body) });
  return { status: answer.status, json: await answer.json() };
}

async function nodes(nats) {
  const key = "k".repeat(32);
  const set = (name) => [
    `admin.operate_key=${KEY}`,
    ...(nats ? [`cluster.nats_url=${nats.url}`, `cluster.node_name=${name}`] : []),
  ];
  const names = nats ? ["n1", "n2", "n3"] : ["n1"];
  const made = await Promise.all(names.map((name) => Service.start({ set: set(name), key })));
  await poll(async () => (await call(made[0], "/nodes")).json.nodes.length === made.length, "the nodes");
  for (const each of made) await poll(async () => (await fetch(`${each.url}/readyz`)).ok, "readiness");
  return made;
}

for (const count of [1, 3])
  describe(`the Admin API on ${count} node(s)`, () => {
    let nats, services;
    before(async () => {
      nats = count > 1 ? await NatsServer.start() : undefined;
      services = await nodes(nats);
    });
    after(async () => {
      await Promise.all(services.map((service) => service.stop()));
      await nats?.stop();
    });

    /** An app server at the first node, and a client at each of three (or three at one). */
    async function setUp(t) {
      const w = world(t, services[0]);
      const io = await w.app();
      const arrived = [];
      io.on("connection", (socket) => arrived.push(socket));
      const at = (number) => services[number % count];
      await Promise.all(
        services.map((service) =>
          poll(async () => {
            const { json } = await call(service, "/hubs");
            return json.hubs.some((hub) => hub.name === w.hub);
          }, "the hub"),
        ),
      );
      const clients = [];
      for (const number of [0, 1, 2]) {
        await poll(async () => {
          const socket = w.socket({ url: at(number).url });
          try {
            await Promise.race([next(socket, "connect"), next(socket, "connect_error").then(() => Promise.reject())]);
          } catch {
            return false;
          }
          clients.push(socket);
          return true;
        }, "a client");
      }
      return { w, io, arrived, clients, ids: clients.map((client) => client.io.engine.id) };
    }

    it("lists its connections at every node, and shows one in full", async (t) => {
      const { w, ids } = await setUp(t);
      for (const service of services) {
        const { json } = await call(service, `/connections?hub=${w.hub}`);
        assert.deepEqual(json.missing, []);
        assert.deepEqual(json.connections.map((row) => row.id).sort(), [...ids].sort());
        assert.ok(json.connections.every((row) => row.address === "127.0.0.1" && row.namespaces[0] === "/"));
        const one = (await call(service, `/connections/${ids[2]}`)).json;
        assert.equal(one.path, `/clients/socketio/hubs/${w.hub}/`);
        assert.equal(one.sockets[0].rooms_total, 0);
      }
      assert.equal((await call(services[0], `/rooms?hub=${w.hub}`)).json.total, 0);
    });

    it("emits to rooms, users and connections", async (t) => {
      const { w, clients, ids } = await setUp(t);
      const service = services[count - 1];
      const join = { hub: w.hub, connection: ids[1], rooms: ["r"] };
      assert.deepEqual(await call(service, "/join", join), { status: 200, json: { missing: [], connections: 1 } });
      const heard = clients.map((client) => {
        const events = [];
        client.onAny((...event) => events.push(event));
        return events;
      });
      const emit = (rest) => call(service, "/emit", { hub: w.hub, ...rest });
      assert.equal((await emit({ event: "room", args: [1], rooms: ["r"] })).status, 202);
      await emit({ event: "others", except: ["r"] });
      await emit({ event: "one", connection: ids[2] });
      await emit({ event: "all", args: [{ a: [null] }] });
      for (const events of heard) await poll(() => events.some(([name]) => name === "all"), "the last event");
      assert.deepEqual(heard, [
        [["others"], ["all", { a: [null] }]],
        [["room", 1], ["all", { a: [null] }]],
        [["others"], ["one"], ["all", { a: [null] }]],
      ]);
      await call(service, "/leave", { hub: w.hub, room: "r", rooms: ["r"] });
      await emit({ event: "room", args: [2], rooms: ["r"] });
      await emit({ event: "end" });
      await poll(() => heard[1].some(([name]) => name === "end"), "the end");
      assert.equal(heard[1].length, 3);
    });

    it("disconnects, and says why", async (t) => {
      const { w, arrived, clients, ids } = await setUp(t);
      const left = Promise.all(arrived.map((socket) => next(socket, "disconnect")));
      const gone = Promise.all(clients.map((client) => next(client, "disconnect")));
      const join = { hub: w.hub, connection: ids[0], rooms: ["r"] };
      await call(services[0], "/join", join);
      const first = await call(services[count - 1], "/disconnect", { hub: w.hub, room: "r", reason: "test" });
      assert.deepEqual(first, { status: 200, json: { missing: [], connections: 1 } });
      for (const id of ids.slice(1)) await call(services[0], "/disconnect", { hub: w.hub, connection: id });
      await gone;
      await left;
      const { json } = await call(services[count - 1], `/disconnects?hub=${w.hub}`);
      assert.deepEqual(json.disconnects.map((row) => row.id).sort(), [...ids].sort());
      assert.ok(json.disconnects.every((row) => row.reason === "api-closed" && row.who === "api"));
      assert.equal(json.disconnects.filter((row) => row.detail === "test").length, 1);
      assert.equal((await call(services[0], "/disconnect", { hub: w.hub, connection: ids[0] })).status, 404);
    });
  });
