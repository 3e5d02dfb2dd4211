// The app that both halves run, so that whatever differs between them is the server underneath.
import { createInterface } from "node:readline";

// No heartbeat falls into a measured window; a client's ping costs the two halves different processes,
// and at 5,000 clients it would hide the figure for one broadcast. The same for both.
export const options = { pingInterval: 600_000, pingTimeout: 600_000 };

export function serve(io) {
  io.on("connection", (socket) => socket.on("echo", (value, ack) => ack(value)));
}

function broadcast(io, { times, bytes }) {
  const text = "x".repeat(bytes);
  for (let i = 0; i < times; i++) io.emit("tick", text);
}

// One JSON object per line: commands on stdin, `facts` on stdout once the server takes clients.
// Deliveries answer a broadcast, so it needs no line of its own. Ends with its standard input.
export function control(io, facts) {
  const commands = createInterface({ input: process.stdin });
  commands.on("line", (line) => broadcast(io, JSON.parse(line)));
  commands.on("close", () => process.exit(0));
  console.log(JSON.stringify({ ready: true, ...facts }));
}
