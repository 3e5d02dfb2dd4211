// Names that every object has. As names of headers, query parameters, rooms, events and namespaces they are ordinary
// names, even if a library of the app has added a member to `Object.prototype`.

import assert from "node:assert/strict";
import { request } from "node:http";
import { after, before, test } from "node:test";

import { WebSocket } from "ws";

import { Service } from "../../../tests/node/lib/service.mjs";
import { next } from "../../../tests/node/lib/waiting.mjs";
import { overEachTransport, world } from "../support/world.mjs";

const NAMES = ["__proto__", "constructor", "hasOwnProperty", "toString"];

let service;
before(async () => {
  service = await Service.start();
  // Enumerable, as in old libraries.
  Object.prototype.added = function added() {};
});
after(() => {
  delete Object.prototype.added;
  return service.stop();
});

const own = (object, names) => names.map((name) => (Object.hasOwn(object, name) ? object[name] : `no ${name}`));

/** Opens a session with every name as a header and in the query; the stock client cannot send these. */
const OPENERS = {
  websocket: (w, url, headers) => {
    const socket = new WebSocket(url.replace("http", "ws"), { headers });
    w.atEnd(() => socket.terminate());
    socket.once("open", () => socket.send("40"));
  },
  polling: async (w, url, headers) => {
    const open = await get(url, headers);
    const { sid } = JSON.parse(open.slice(1));
    await fetch(`${url}&sid=${sid}`, { method: "POST", body: "40" });
    w.atEnd(() => fetch(`${url}&sid=${sid}`, { method: "POST", body: "1" }));
  },
};

/** `fetch` is not used because its headers are an object. */
function get(url, headers) {
  return new Promise((resolve, reject) => {
    request(url, { headers: Object.entries(headers).flat() }, (response) => response.setEncoding("utf8").once("data", resolve))
      .once("error", reject)
      .end();
  });
}

for (const [transport, open] of Object.entries(OPENERS))
  test(`[repair 20] headers and queries of any name, over ${transport}`, async (t) => {
    const w = world(t, service);
    const one = await w.app();
    const arrived = next(one, "connection");
    const query = NAMES.map((name) => `${name}=query%20${name}`).join("&");
    const url = `${service.url}/clients/socketio/hubs/${w.hub}/?EIO=4&transport=${transport}&${query}`;
    await open(w, url, Object.fromEntries(NAMES.map((name) => [name, `header ${name}`])));
    const [socket] = await arrived;
    const two = await w.app();
    const [fetched] = await two.in(socket.id).fetchSockets();
    for (const { headers, query: given } of [socket.handshake, fetched.handshake]) {
      assert.deepEqual(own(headers, NAMES.map((name) => name.toLowerCase())), NAMES.map((name) => `header ${name}`));
      assert.deepEqual(own(given, NAMES), NAMES.map((name) => `query ${name}`));
      assert.equal(Object.hasOwn(headers, "added") || Object.hasOwn(given, "added"), false);
    }
  });

overEachTransport((transport) => {
  test(`[repair 20] rooms, events and namespaces of any name, over ${transport}`, async (t) => {
    const w = world(t, service, transport);
    const [one, two] = [await w.app(), await w.app()];
    for (const name of NAMES) {
      const nsp = `/${name}`;
      for (const io of [one, two]) io.of(nsp);
      const { client, socket } = await w.pairAt(one, { nsp });
      socket.on(name, (value, answer) => answer([name, value]));
      assert.deepEqual(await client.emitWithAck(name, { [name]: 1 }), [name, { [name]: 1 }]);
      await socket.join(name);
      const heard = next(client, name);
      two.of(nsp).to(name).emit(name, name);
      assert.deepEqual(await heard, [name]);
      assert.deepEqual((await two.of(nsp).in(name).fetchSockets()).map(({ id, rooms }) => [id, rooms.has(name)]), [[client.id, true]]);
      one.of(nsp).on(name, (answer) => answer(name));
      assert.deepEqual(await two.of(nsp).serverSideEmitWithAck(name), [name]);
      await socket.leave(name);
      assert.equal(socket.rooms.has(name), false);
    }
  });
});
