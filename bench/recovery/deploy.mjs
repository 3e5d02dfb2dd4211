// node deploy.mjs PORT PATH COUNT EVERY: stock clients that emit a numbered event with an ack every EVERY ms.
// One JSON object per line: {"emit": 1} begins, {"emit": 0} ends, {"report": N} prints what all have seen so far.
// Ends with its standard input.
import { createInterface } from "node:readline";
import { io } from "socket.io-client";

const [port, path, count, every] = process.argv.slice(2);
const AT_ONCE = 50;

class Client {
  sent = 0;
  answered = 0;
  misordered = 0;
  disconnects = 0;

  constructor(ready) {
    this.socket = io(`http://127.0.0.1:${port}`, { path, transports: ["websocket"], forceNew: true });
    this.socket.once("connect", ready);
    this.socket.on("disconnect", () => (this.disconnects += 1));
  }

  emit() {
    const number = this.sent++;
    const began = performance.now();
    this.socket.emit("echo", number, (value) => {
      if (value !== this.answered) this.misordered += 1;
      this.answered += 1;
      times.push(performance.now() - began);
    });
  }
}

const clients = [];
let times = [];
let timer;

// Spread over the time, so that the load is even.
function emitting(on) {
  clearInterval(timer);
  if (!on) return;
  let next = 0;
  const began = performance.now();
  timer = setInterval(() => {
    const due = ((performance.now() - began) * clients.length) / Number(every);
    for (; next < due; next++) clients[next % clients.length].emit();
  }, 5);
}

const sum = (field) => clients.reduce((total, one) => total + one[field], 0);

function report(number) {
  times.sort((a, b) => a - b);
  console.log(JSON.stringify({
    report: number,
    connected: clients.filter(({ socket }) => socket.connected).length,
    sent: sum("sent"),
    answered: sum("answered"),
    misordered: sum("misordered"),
    disconnects: sum("disconnects"),
    p99: times[Math.floor(times.length * 0.99)] ?? 0,
    longest: times.at(-1) ?? 0,
  }));
  times = [];
}

async function open() {
  let next = 0;
  const worker = async () => {
    while (next < Number(count)) {
      next += 1;
      await new Promise((ready) => clients.push(new Client(ready)));
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
}

const commands = createInterface({ input: process.stdin });
commands.on("line", (line) => {
  const command = JSON.parse(line);
  if (command.report) report(command.report);
  else emitting(command.emit);
});
commands.on("close", () => process.exit(0));
await open();
console.log(JSON.stringify({ ready: true }));
