// Hand-over: a client's sockets move to another app server, and the client stays connected.

import { randomBytes } from "node:crypto";

import { type Facts, factsOf } from "../adapter/facts.js";
import type { Connection } from "../engine/connection.js";
import { Restoration, type Restorations } from "../engine/restoration.js";
import type { Report } from "../uplink.js";
import { type Arriving, type Leaving, type State, Type } from "../wire/frames.js";
import { type AnyNamespace, type AnyServer, type AnySocket, insideNamespace, insideServer, insideSocket } from "./internals.js";
import { callHandler } from "./uncaught.js";

/** The state of a client that leaves. */
export function stateOf(connection: Connection, report: Report): State {
  const sockets = [...connection.sockets.values()].map((socket) => leaving(socket, report));
  return { type: Type.State, client: connection.client, sockets };
}

function leaving(socket: AnySocket, report: Report): Leaving {
  const { id, nsp } = socket;
  const [chunk] = factsOf(new Map([[id, socket]]), [id], report);
  const data = chunk?.facts.slice(1, -1) ?? "";
  // socket.io counts the ack ids of a whole namespace.
  const acks = Math.max(0, insideNamespace(nsp)._ids - 1);
  return { namespace: nsp.name, sid: id, data: data === "{}" ? "" : data, acks, pending: [...insideSocket(socket).acks.keys()] };
}

/** Another app server serves the client: its sockets end here without an event. */
export function forget(connection: Connection): void {
  for (const socket of [...connection.sockets.values()]) {
    insideSocket(socket)._cleanup();
    socket.connected = false;
  }
}

/** Makes the sockets of a client that another app server has served; the "connection" listeners run, middlewares do
 * not. False if this app server lacks one of the namespaces. */
export async function adopt(io: AnyServer, connection: Connection, sockets: readonly Arriving[], restorations: Restorations): Promise<boolean> {
  const made: (() => Promise<void>)[] = [];
  for (const socket of sockets) {
    const { data, auth } = factsIn(socket.data);
    const namespace = await namespaceNamed(io, socket.namespace, auth ?? {});
    if (namespace === undefined) return false;
    made.push(() => make(namespace, connection, socket, { data, auth }, restorations));
  }
  for (const one of made) await one();
  return true;
}

function factsIn(json: string): Facts {
  return json === "" ? {} : (JSON.parse(json) as Facts);
}

/** Dynamic namespaces are made when a client asks for them. */
function namespaceNamed(io: AnyServer, name: string, auth: unknown): Promise<AnyNamespace | undefined> {
  const server = insideServer(io);
  const known = server._nsps.get(name);
  if (known !== undefined) return Promise.resolve(known);
  return new Promise((resolve) => server._checkNamespace(name, auth, (found) => resolve(found === false ? undefined : found)));
}

/** socket.io makes a socket with a given id, rooms and data only for connection state recovery, so it is asked to
 * recover this one. The client must not see another CONNECT answer: see `Connection.adopting`. */
async function make(nsp: AnyNamespace, connection: Connection, row: Arriving, facts: Facts, restorations: Restorations): Promise<void> {
  const namespace = insideNamespace(nsp);
  const pid = randomBytes(12).toString("base64url");
  const restoration = new Restoration(row.sid, row.rooms, facts.data ?? {});
  connection.restorations.set(nsp.name, restoration);
  restorations.set(pid, restoration);
  const { _add } = namespace;
  let making: Promise<void> | undefined;
  namespace._add = (client, _auth, connected) => {
    namespace._add = _add;
    making = recovering(nsp, () => namespace._createSocket(client, { pid, offset: "" })).then((socket) => {
      socket.handshake.auth = (facts.auth ?? {}) as typeof socket.handshake.auth;
      const marks: { recovered: boolean } = socket;
      marks.recovered = false;
      socket.handedOver = true;
      namespace._ids = Math.max(namespace._ids, row.acks + 1);
      callHandler(() => namespace._doConnect(socket, connected));
    });
  };
  try {
    connection.receive(nsp.name === "/" ? "40" : `40${nsp.name},`);
  } finally {
    namespace._add = _add;
  }
  await making;
}

/** Calls `create` as if the server recovered sessions. It reads the option before it waits for anything. */
function recovering<T>(nsp: AnyNamespace, create: () => T): T {
  const { opts } = insideServer(nsp.server);
  const { connectionStateRecovery } = opts;
  opts.connectionStateRecovery = { maxDisconnectionDuration: 0, skipMiddlewares: true };
  try {
    return create();
  } finally {
    opts.connectionStateRecovery = connectionStateRecovery;
  }
}
