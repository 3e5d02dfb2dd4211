// A Socket.IO server with the adapter. The test takes the part of the service, to produce situations that a real service
// cannot produce on demand.

import assert from "node:assert/strict";

import { Server } from "socket.io";

import { MoorageAdapter } from "../../dist/esm/adapter/adapter.js";
import { Dispatcher } from "../../dist/esm/dispatcher.js";
import { Engine } from "../../dist/esm/engine/engine.js";
import { Recorder } from "./recorder.mjs";

export const HANDSHAKE = JSON.stringify({ headers: {}, query: {}, claims: {} });
export const turn = () => new Promise(setImmediate);

/** A server with `clients` sockets in the root namespace, numbered from 1. `recovery`: its `connectionStateRecovery`. */
export async function stage(clients = 1, recovery = undefined) {
  const uplink = new Recorder();
  const reported = [];
  const report = (error) => reported.push(error);
  const io = new Server(recovery ? { connectionStateRecovery: recovery } : {});
  const engine = new Engine(uplink, {}, report, () => {});
  const adapters = new Map();
  const dispatch = new Dispatcher(uplink, { io, engine, adapters, report, onDrain: () => {} });
  const around = { uplink, report, adapters, restorations: engine.restorations, recovers: Boolean(recovery), requestsTimeout: 100, closed: () => false };
  io.bind(engine);
  io.adapter(class extends MoorageAdapter {
    constructor(namespace) {
      super(namespace, around);
    }
  });
  for (let client = 1; client <= clients; client += 1) {
    dispatch.open(client, `c${client}`, null, HANDSHAKE);
    dispatch.packet(client, "40");
  }
  await turn();
  const sockets = [...io.of("/").sockets.values()];
  assert.equal(sockets.length, clients);
  uplink.sent.length = 0;
  return { io, engine, uplink, reported, dispatch, sockets, adapter: io.of("/").adapter };
}
