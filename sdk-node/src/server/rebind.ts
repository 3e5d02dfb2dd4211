// Quiet recovery: a socket goes on with another connection of its client, and the application does not notice.

import type { Connection } from "../engine/connection.js";
import { type AnySocket, insideNamespace, insideSocket } from "./internals.js";

/** Gives `socket` from one connection to another. socket.io has made an object for each connection, which has the
 * connection's sockets. It does not show that object, so it is asked to connect the namespace, and what it would do for
 * a new socket is done for this one. */
export function rebind(socket: AnySocket, from: Connection, to: Connection): void {
  const { nsp } = socket;
  const namespace = insideNamespace(nsp);
  const { _add } = namespace;
  namespace._add = (client, _auth, connected) => {
    insideSocket(socket).client._remove(socket);
    insideSocket(socket).client = client;
    connected(socket);
  };
  try {
    to.receive(nsp.name === "/" ? "40" : `40${nsp.name},`);
  } finally {
    namespace._add = _add;
  }
  from.sockets.delete(nsp.name);
  to.sockets.set(nsp.name, socket);
}
