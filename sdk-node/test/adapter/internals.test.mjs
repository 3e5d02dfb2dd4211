// Compares src/server/internals.ts, and the engine's assumptions about socket.io, with the installed release.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Namespace, Server, Socket } from "socket.io";
import { Adapter } from "socket.io-adapter";

test("socket.io has what this package uses beyond its documented API", () => {
  const io = new Server();
  assert.equal(typeof io.encoder.encode, "function");
  assert.equal(typeof io._parser.Decoder, "function");
  assert.equal(typeof io.opts, "object");
  assert.equal(typeof Namespace.prototype._onServerSideEmit, "function");
  assert.equal(io.of("/")._preConnectSockets instanceof Map, true);
  assert.equal(Object.hasOwn(new Socket(io.of("/"), { conn: {} }, {}), "adapter"), true);
  assert.equal(typeof Socket.prototype._onclose, "function");
  assert.equal(typeof Socket.prototype.notifyOutgoingListeners, "function");
  assert.equal(typeof io.in("x").flags, "object");
});

test("an adapter of this package's copy of socket.io-adapter is socket.io's", () => {
  assert.equal(new Server().of("/").adapter instanceof Adapter, true);
});

test("the first \"connection\" listener of an engine is the server's own", () => {
  const io = new Server(0);
  assert.equal(io.engine.listeners("connection").length, 1);
  io.close();
});
