// Event names that Socket.IO keeps for itself.

export const RESERVED_EVENTS: ReadonlySet<string> = new Set([
  "connect",
  "connect_error",
  "disconnect",
  "disconnecting",
  "newListener",
  "removeListener",
]);

/** Of a namespace: events that socket.io itself emits there. */
export const RESERVED_SERVER_EVENTS: ReadonlySet<string> = new Set(["connect", "connection", "new_namespace"]);
