// The app that both halves run, so that whatever differs between them is the server underneath.
import { createInterface } from "node:readline";

// No heartbeat falls into a measured window; a client's ping costs the two halves different processes,
// and at 5,000 clients it would hide the figure for one broadcast. The same for both.
const ping = Number(process.env.BENCH_PING ?? 600_000);
const recovery = process.env.BENCH_RECOVERY && { connectionStateRecovery: { maxDisconnectionDuration: 120_000 } };
export const options = { pingInterval: ping, pingTimeout: ping, ...recovery };

function echo(value, ack) {
  ack(value);
}

async function enter(room, ack) {
  await this.join(room);
  ack();
}

// A connect is measured, too: so no function is made for each socket, and the environment is read once.
export function serve(io) {
  const readers = Boolean(process.env.BENCH_READERS);
  const publish = (room, text) => io.to(room).emit("tick", text);
  io.on("connection", (socket) => {
    socket.on("echo", echo);
    socket.on("enter", enter);
    socket.on("publish", publish);
    if (readers && !socket.recovered) socket.join("readers");
  });
}

// What an app may keep with a socket: some 100 bytes of JSON.
export function remember(io) {
  io.on("connection", (socket) => {
    socket.data.user = { id: socket.id, name: "Ada Lovelace", roles: ["editor", "viewer"] };
    socket.data.since = 1_700_000_000_000;
  });
}

// Text as an app may send it: rows of numbers and words.
function rows(bytes) {
  const words = ["Ada", "Grace", "Alan", "Edsger", "Barbara"];
  let text = "";
  for (let i = 0; text.length < bytes; i++)
    text += JSON.stringify({ id: (i * 7919) % 100003, name: words[i % 5], price: ((i * 31337) % 9973) / 100, sold: i % 3 > 0 });
  return text.slice(0, bytes);
}

// Back to back, or `rate` a second.
function broadcast(io, { times, bytes, room, rate, json }) {
  const text = json ? rows(bytes) : "x".repeat(bytes);
  const target = room ? io.to(room) : io;
  if (!rate) {
    for (let i = 0; i < times; i++) target.emit("tick", text);
    return;
  }
  const began = performance.now();
  let sent = 0;
  const timer = setInterval(() => {
    const due = Math.min(times, ((performance.now() - began) * rate) / 1000);
    for (; sent < due; sent++) target.emit("tick", text);
    if (sent === times) clearInterval(timer);
  }, 1);
}

// The time lets a client tell what it missed from what is new. Half of them need the client's room; one of four
// is binary, and one has an exception.
function news(io, { news: number }) {
  const sent = Number(process.hrtime.bigint()) / 1e6;
  const kind = number % 4;
  if (kind === 0) io.emit("news", number, sent);
  else if (kind === 1) io.to("readers").emit("news", number, sent);
  else if (kind === 2) io.emit("news", number, sent, Buffer.alloc(16, number));
  else io.to("readers").except("nobody").emit("news", number, sent);
}

// Twice: until the answer is there, and until everything in it has been read, for an answer may be lazy.
async function fetch(io, { fetch: number }) {
  const began = performance.now();
  const sockets = await io.fetchSockets();
  const ms = performance.now() - began;
  const whole = sockets.filter(
    (one) => one.rooms.has(one.id) && one.data.user?.id === one.id && one.handshake.headers["user-agent"],
  );
  const read = performance.now() - began;
  const ids = new Set(whole.map((one) => one.id));
  console.log(JSON.stringify({ fetched: number, sockets: ids.size, ms, read }));
}

// Lets the sockets in turn join rooms that nobody has been in, `rate` a second, and reports how long each join took.
function join(io, { joins, rate, number }) {
  const sockets = [...io.sockets.sockets.values()];
  const times = [];
  const began = performance.now();
  let sent = 0;
  const one = async () => {
    const asked = performance.now();
    await sockets[sent % sockets.length].join(`${began}-${sent++}`);
    times.push(performance.now() - asked);
    if (times.length === joins) console.log(JSON.stringify({ joined: number, times }));
  };
  const timer = setInterval(() => {
    const due = Math.min(joins, ((performance.now() - began) * rate) / 1000);
    while (sent < due) void one();
    if (sent === joins) clearInterval(timer);
  }, 1);
}

async function handOver(io, { handover: handed }) {
  const began = performance.now();
  const { moved, missing } = await io.handOver();
  console.log(JSON.stringify({ handed, moved, missing: missing.length, ms: performance.now() - began }));
}

// One JSON object per line: commands on stdin, `facts` on stdout once the server takes clients.
// Deliveries answer a broadcast, so it needs no line of its own. Ends with its standard input.
export function control(io, facts) {
  const commands = createInterface({ input: process.stdin });
  commands.on("line", (line) => {
    const command = JSON.parse(line);
    if (command.fetch) void fetch(io, command);
    else if (command.joins) join(io, command);
    else if (command.handover) void handOver(io, command);
    else if (command.news !== undefined) news(io, command);
    else broadcast(io, command);
  });
  commands.on("close", () => process.exit(0));
  console.log(JSON.stringify({ ready: true, ...facts }));
}
