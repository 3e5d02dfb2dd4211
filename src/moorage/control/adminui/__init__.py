"""The official Admin UI of Socket.IO: the server's side of `@socket.io/admin-ui` 0.5."""
