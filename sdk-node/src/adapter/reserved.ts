// Event names that Socket.IO reserves.

export const RESERVED_EVENTS: ReadonlySet<string> = new Set([
  "connect",
  "connect_error",
  "disconnect",
  "disconnecting",
  "newListener",
  "removeListener",
]);

/** Events that socket.io itself emits on a namespace. */
export const RESERVED_SERVER_EVENTS: ReadonlySet<string> = new Set(["connect", "connection", "new_namespace"]);
