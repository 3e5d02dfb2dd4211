// Compares docs/reference/node-sdk.md with the package and with socket.io's own server API.

import assert from "node:assert/strict";
import { EventEmitter } from "node:events";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { Namespace, Server, Socket } from "socket.io";

import * as exported from "../../dist/esm/index.js";
import { ClusterSocket } from "../../dist/esm/adapter/remote.js";
import { Moorage } from "../../dist/esm/moorage.js";

const page = readFileSync(new URL("../../../docs/reference/node-sdk.md", import.meta.url), "utf8");

/** The names in the first column of the tables of the section with this heading. */
function named(heading) {
  const [, section = ""] = page.split(new RegExp(`^#+ ${heading}$`, "m"));
  const rows = section.split(/^#/m)[0].split("\n").filter((line) => line.startsWith("| `"));
  return rows.flatMap((row) => [...row.split("|")[1].matchAll(/`(\w+)/g)].map(([, name]) => name));
}

/** Methods and getters of a class, without private ones and those of every emitter. */
function methods(prototype, internal = []) {
  const emitter = new Set([...Object.getOwnPropertyNames(EventEmitter.prototype), "constructor"]);
  emitter.delete("emit");
  return Object.getOwnPropertyNames(prototype).filter(
    (name) => !name.startsWith("_") && !emitter.has(name) && !internal.includes(name),
  );
}

const io = new Server();
io.of("/").adapter.fetchSockets = async () => [{ id: "x", rooms: [], data: {}, handshake: {} }];
const [remote] = await io.fetchSockets();

/** Methods that are private by their declaration or comment, but not by name. */
const INTERNAL = {
  Server: ["extractFilename", "initEngine", "attachServe", "serve", "onconnection"],
  Namespace: ["run"],
  Socket: [
    ...["buildHandshake", "registerAckCallback", "packet", "onevent", "ack", "onack", "ondisconnect", "dispatch", "run"],
    ...["notifyOutgoingListeners", "newBroadcastOperator", "leaveAll"],
  ],
};

for (const [heading, prototype] of Object.entries({
  Server: Server.prototype,
  Namespace: Namespace.prototype,
  BroadcastOperator: io.in("x").constructor.prototype,
  Socket: Socket.prototype,
  RemoteSocket: remote.constructor.prototype,
})) {
  test(`the table of ${heading} has each of its methods, and no other`, () => {
    const wanted = methods(prototype, INTERNAL[heading]).filter((name) => name !== "useAzureSocketIO");
    assert.deepEqual(named(heading).sort(), wanted.sort());
  });
}

test("each export is explained", () => {
  for (const name of Object.keys(exported)) assert.match(page, new RegExp(`\\b${name}\\b`), name);
});

test("the tables of Moorage have each member and event", () => {
  const members = Object.entries(Object.getOwnPropertyDescriptors(Moorage.prototype)).map(([name]) => name);
  const wanted = [...members.filter((name) => !["constructor", "end", "isClosed"].includes(name)), "hub", "clientUrl", "clientPath"];
  const events = ["lost", "restored", "drain", "closed", "error"];
  assert.deepEqual(named("The result: a `Moorage`").sort(), [...wanted, ...events].sort());
});

test("a fetched socket has all that socket.io's RemoteSocket has", () => {
  const row = { id: "x", connection: "c", user: null, server: 0, opened: 0, rooms: [], handshake: "" };
  const ours = new ClusterSocket(io.of("/"), row);
  for (const name of [...methods(remote.constructor.prototype), "id", "handshake", "rooms", "data"]) assert.equal(name in ours, true, name);
});
