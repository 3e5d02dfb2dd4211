// node clients.mjs PORT PATH COUNT: stock clients that lose their TCP connections and count what reaches them.
// One JSON object per line: {"cuts": MS, "silent": 0} cuts each client's connection about that often (0: no more),
// {"report": N} prints what all of them have seen so far. Ends with its standard input.
import { createInterface } from "node:readline";
import { io } from "socket.io-client";

const [port, path, count] = process.argv.slice(2);
const AT_ONCE = 50;
const EXAMPLES = 3;
const UNREAD = 60_000;
// From 2 to 5 seconds: the client adds or subtracts up to this share of the delay.
const backOff = { reconnectionDelay: 3500, reconnectionDelayMax: 5000, randomizationFactor: 3 / 7 };
// The monotonic clock of the machine, so that the times of two processes compare.
const now = () => Number(process.hrtime.bigint()) / 1e6;

class Reader {
  got = new Map();
  last = -1;
  twice = 0;
  misordered = 0;
  connects = 0;
  resumed = 0;
  since = 0;
  replay = undefined;
  replays = [];
  story = [];

  constructor(ready) {
    this.socket = io(`http://127.0.0.1:${port}`, { path, transports: ["websocket"], forceNew: true, ...backOff });
    this.socket.on("connect", () => this.connected(ready));
    this.socket.on("disconnect", (reason) => this.disconnected(reason));
    this.socket.on("news", (number, sent) => this.news(number, sent));
  }

  connected(ready) {
    this.since = now();
    this.connects += 1;
    if (this.connects === 1) ready();
    else if (this.socket.recovered) this.resumed += 1;
    this.story.push([Math.round(this.since), this.socket.recovered ? "resumed" : "fresh"]);
  }

  disconnected(reason) {
    if (this.replay !== undefined) this.replays.push(this.replay);
    this.replay = undefined;
    this.since = Infinity;
    this.story.push([Math.round(now()), reason]);
  }

  news(number, sent) {
    if (this.got.has(number)) this.twice += 1;
    else if (number < this.last) this.misordered += 1;
    this.got.set(number, Math.round(now()));
    this.last = Math.max(this.last, number);
    // The app sent it before this connection was there. Native sends it before the answer to the CONNECT packet:
    // the client keeps it, and the app gets it just before "connect".
    if (sent < this.since) this.replay = Math.max(0, now() - this.since);
  }

  // A reset, in which packets under way are lost as well. A silent one leaves the server with a connection that
  // nobody reads, as a phone does that changes networks.
  cut(silent) {
    if (!this.socket.connected) return;
    const { transport } = this.socket.io.engine;
    const connection = transport.ws._socket;
    if (!silent) return connection.resetAndDestroy();
    connection.pause();
    transport.onClose({ description: "no network" });
    setTimeout(() => connection.resetAndDestroy(), UNREAD);
  }
}

const readers = [];
const cutting = new Set();

function keepCutting(reader, { cuts, silent }, wait) {
  const timer = setTimeout(() => {
    cutting.delete(timer);
    reader.cut(silent);
    keepCutting(reader, { cuts, silent }, cuts * (0.8 + 0.4 * Math.random()));
  }, wait);
  cutting.add(timer);
}

function startCutting(command) {
  for (const timer of cutting) clearTimeout(timer);
  cutting.clear();
  if (command.cuts) for (const reader of readers) keepCutting(reader, command, command.cuts * Math.random());
}

const sum = (field) => readers.reduce((total, reader) => total + field(reader), 0);

function report(number) {
  const newest = readers.reduce((most, reader) => Math.max(most, reader.last), -1);
  const wrong = readers.filter((one) => one.got.size <= newest || one.twice || one.misordered);
  const replays = readers.flatMap((one) => (one.replay === undefined ? one.replays : [...one.replays, one.replay]));
  replays.sort((a, b) => a - b);
  console.log(JSON.stringify({
    report: number,
    connected: sum((one) => one.socket.connected),
    delivered: sum((one) => one.got.size),
    twice: sum((one) => one.twice),
    misordered: sum((one) => one.misordered),
    reconnects: sum((one) => one.connects - 1),
    resumed: sum((one) => one.resumed),
    replays: replays.length,
    replay_p50: replays[Math.floor(replays.length * 0.5)] ?? 0,
    replay_p99: replays[Math.floor(replays.length * 0.99)] ?? 0,
    replay_max: replays.at(-1) ?? 0,
    wrong: wrong.length,
    examples: wrong.slice(0, EXAMPLES).map((one) => ({ story: one.story, got: [...one.got] })),
  }));
}

async function open() {
  let next = 0;
  const worker = async () => {
    while (next < Number(count)) {
      next += 1;
      await new Promise((ready) => readers.push(new Reader(ready)));
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
}

const commands = createInterface({ input: process.stdin });
commands.on("line", (line) => {
  const command = JSON.parse(line);
  if (command.report) report(command.report);
  else startCutting(command);
});
commands.on("close", () => process.exit(0));
await open();
console.log(JSON.stringify({ ready: true }));
