const { Server } = require("socket.io");

const io = new Server(Number(process.env.PORT));

io.on("connection", (socket) => {
  const { name } = socket.handshake.auth;
  socket.emit("welcome", name);

  socket.on("join", async (room, done) => {
    await socket.join(room);
    done(socket.rooms.size);
  });
  socket.on("say", (room, text) => socket.to(room).emit("said", name, text));
  socket.on("shout", (text) => socket.broadcast.emit("shouted", name, text));
  socket.on("ask", async (question, done) => done(await socket.timeout(5000).emitWithAck("question", question)));
  socket.on("echo", (data, done) => done(data));
  socket.on("disconnect", () => io.emit("left", name));
});
