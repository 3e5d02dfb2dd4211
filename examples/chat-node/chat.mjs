// The chat itself uses only Socket.IO: the same code runs with and without Moorage.

const LONGEST_NAME = 20;
const LONGEST_MESSAGE = 2000;

/** Text that a user typed: trimmed and shortened; anything but text counts as empty. */
const clean = (value, longest) => (typeof value === "string" ? value.trim().slice(0, longest) : "");

/** Serves the chat on `io`'s main namespace. Counts the users of this process. */
export function joinChat(io) {
  let people = 0;

  io.on("connection", (socket) => {
    socket.on("add user", (name) => {
      const username = clean(name, LONGEST_NAME);
      if (!username || socket.data.username) return;
      socket.data.username = username;
      people += 1;
      socket.emit("login", { username, numUsers: people });
      socket.broadcast.emit("user joined", { username, numUsers: people });
    });

    socket.on("new message", (text, acknowledge) => {
      const message = clean(text, LONGEST_MESSAGE);
      const { username } = socket.data;
      if (!username || !message) return;
      socket.broadcast.emit("new message", { username, message });
      // The page marks its own message as sent once the app server has it.
      if (typeof acknowledge === "function") acknowledge();
    });

    for (const event of ["typing", "stop typing"]) {
      socket.on(event, () => {
        if (socket.data.username) socket.broadcast.emit(event, { username: socket.data.username });
      });
    }

    socket.on("disconnect", () => {
      const { username } = socket.data;
      if (!username) return;
      people -= 1;
      socket.broadcast.emit("user left", { username, numUsers: people });
    });
  });
}
