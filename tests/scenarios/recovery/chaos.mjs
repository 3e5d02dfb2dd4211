// node chaos.mjs CONNECTION_STRING SEED SECONDS CLIENTS: stock clients in a bad network, two app servers that emit at
// random, and a ledger of who is entitled to what. Prints one JSON object.

import { createHmac } from "node:crypto";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { setTimeout as sleep } from "node:timers/promises";

import { Ledger } from "./ledger.mjs";
import { Hop } from "./proxy.mjs";

const require = createRequire(new URL("../../../sdk-node/package.json", import.meta.url));
const { Server } = require("socket.io");
const { io: connect } = require("socket.io-client");
const { useMoorage } = await import(new URL("../../../sdk-node/dist/esm/index.js", import.meta.url));

const [connectionString, seed, seconds, count, quiet] = process.argv.slice(2);
const { Endpoint: endpoint, AccessKey: accessKey } = Object.fromEntries(
  connectionString.split(";").filter(Boolean).map((part) => part.split(/=(.*)/s)),
);
const url = new URL(endpoint);
const HUB = "app";
const NAMESPACES = ["/", "/chat"];
const ROOMS = ["a", "b", "c", "d"];
const CUTS = 20;
const FILLERS = ["", "text", "x".repeat(3_000), "y".repeat(150_000)];

// mulberry32: the same numbers for the same seed.
let state = Number(seed);
function random() {
  state = (state + 0x6d2b79f5) | 0;
  let t = Math.imul(state ^ (state >>> 15), 1 | state);
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
  return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
}
const below = (limit) => Math.floor(random() * limit);
const pick = (some) => some[below(some.length)];
const some = (list, most) => [...new Set(Array.from({ length: below(most + 1) }, () => pick(list)))];

const ledger = new Ledger();
const problems = [];
const lines = [];
const trace = (line) => process.env.TRACE && lines.push(`${performance.now().toFixed(1)} ${line}`);
const sockets = new Map(); // The app's socket of each id, the latest one.
const counts = { connects: 0, recovered: 0, cuts: 0, emits: 0 };

async function appServer(name) {
  const io = new Server(createServer(), {
    pingInterval: 1_000,
    pingTimeout: 1_500,
    connectionStateRecovery: { maxDisconnectionDuration: 60_000, skipMiddlewares: true },
  });
  for (const namespace of NAMESPACES)
    io.of(namespace).on("connection", (socket) => {
      const former = sockets.get(socket.id);
      sockets.set(socket.id, socket);
      trace(`${name} has ${socket.id} recovered ${socket.recovered} in ${[...socket.rooms]}`);
      socket.on("disconnect", (reason) => trace(`${name} lost ${socket.id} ${reason}`));
      if (socket.recovered && former !== undefined && socket.data.mark !== socket.id)
        problems.push(`${socket.id} has lost its data`);
      socket.data.mark = socket.id;
    });
  const link = await useMoorage(io, { hub: HUB, connectionString, serverId: name, ...(quiet ? { quietRecovery: true } : {}) });
  link.on("error", (error) => problems.push(`${name}: ${error.message}`));
  return io;
}

const apps = { A: await appServer("A"), B: await appServer("B") };

class Phone {
  sessions = new Map();

  async start(index, transports) {
    this.index = index;
    let left = 0;
    this.hop = new Hop({ host: url.hostname, port: url.port }, () => {
      const [budget, once] = [this.budget ?? Infinity, left];
      this.budget = undefined;
      return once || budget;
    });
    const port = await this.hop.listen();
    this.sockets = NAMESPACES.map((namespace) => this.#socket(namespace, port, transports));
  }

  #socket(namespace, port, transports) {
    const socket = (this.manager ??= connect(`http://127.0.0.1:${port}/`, {
      path: `/clients/socketio/hubs/${HUB}/`,
      transports,
      forceNew: true,
      reconnectionDelay: 20,
      reconnectionDelayMax: 300,
      randomizationFactor: 0.9,
      autoConnect: false,
    }).io).socket(namespace);
    let asked = performance.now();
    socket.on("connect", () => {
      counts.connects += 1;
      trace(`client ${this.index} ${socket.id} connected, recovered ${socket.recovered}`);
      const former = this.sessions.get(namespace);
      if (socket.recovered) {
        counts.recovered += 1;
        if (former?.sid !== socket.id) problems.push(`${socket.id} recovered, but was ${former?.sid}`);
      } else {
        if (former !== undefined) former.over = performance.now();
        const session = ledger.begin(socket.id, namespace);
        ledger.early(session, asked);
        this.sessions.set(namespace, session);
      }
      for (const key of this.early.splice(0)) ledger.got(this.sessions.get(namespace), key);
    });
    this.early = [];
    socket.on("disconnect", (reason) => {
      asked = performance.now();
      trace(`client ${this.index} lost ${this.sessions.get(namespace)?.sid} ${reason}`);
      if (reason === "io server disconnect") socket.connect();
    });
    socket.on("connect_error", () => socket.active || setTimeout(() => socket.connect(), 50));
    socket.on("event", (key, ...rest) => {
      const ack = rest.find((each) => typeof each === "function");
      const binary = rest.find((each) => each instanceof Uint8Array || each instanceof Buffer);
      if (binary !== undefined && Buffer.from(binary).toString() !== key) problems.push(`${key} has another's attachment`);
      // Natively, missed events are emitted just before "connect".
      const session = this.sessions.get(namespace);
      if (session === undefined) problems.push(`${key} arrived before the connect`);
      else ledger.got(session, key);
      ack?.(key);
    });
    socket.connect();
    return socket;
  }

  get settled() {
    return this.sockets.every((socket) => socket.connected);
  }
}

const phones = Array.from({ length: Number(count) }, () => new Phone());
await Promise.all(phones.map((phone, at) => phone.start(at, [["websocket"], ["polling", "websocket"], ["polling"]][at % 3])));

async function settled() {
  const until = performance.now() + 60_000;
  while (!phones.every((phone) => phone.settled)) {
    if (performance.now() > until) throw new Error("not all clients have come back");
    await sleep(20);
  }
}

// -- what goes wrong --------------------------------------------------------------------------------------------

let bad = true;
async function breakConnections() {
  while (bad) {
    await sleep(below(60));
    const phone = pick(phones);
    counts.cuts += 1;
    const kind = below(6);
    if (kind === 0) phone.hop.half(below(2_000));
    else if (kind === 1) phone.hop.freeze(below(4_000));
    else if (kind === 2) {
      // In the middle of an event, or of the answer to the CONNECT, or of the upgrade.
      phone.budget = pick([200, 400, 700, 1_500, 20_000, 200_000]) + below(300);
      phone.hop.cut();
    } else if (kind === 3) {
      phone.hop.cut();
      await sleep(below(80));
      phone.hop.cut();
    } else phone.hop.cut();
  }
}

// -- what the apps do -------------------------------------------------------------------------------------------

const inside = (rooms) => (session) => rooms.some((room) => session.rooms.has(room));

async function move() {
  const app = pick(Object.values(apps));
  const namespace = pick(NAMESPACES);
  const of = app.of(namespace);
  const alive = [...ledger.sessions.values()].filter((each) => each.namespace === namespace && each.over === Infinity);
  if (alive.length === 0) return;
  const joined = below(3) > 0;
  const room = pick(ROOMS);
  const one = pick(alive);
  let chosen = [one];
  const own = sockets.get(one.sid);
  const kind = below(4);
  if (kind === 0 && own?.connected) {
    // A handler does it. If the client goes away meanwhile, it may not have happened.
    await (joined ? own.join(room) : own.leave(room));
    if (!own.connected) await (joined ? of.in(one.sid).socketsJoin(room) : of.in(one.sid).socketsLeave(room));
  } else if (kind === 1) {
    const from = pick(ROOMS);
    chosen = alive.filter(inside([from]));
    await (joined ? of.in(from).socketsJoin(room) : of.in(from).socketsLeave(room));
  } else await (joined ? of.in(one.sid).socketsJoin(room) : of.in(one.sid).socketsLeave(room));
  await app.in("nobody").fetchSockets();
  trace(`move ${kind} ${namespace} ${joined ? "join" : "leave"} ${room} by ${app === apps.A ? "A" : "B"}: ${chosen.map((each) => each.sid)}`);
  for (const session of chosen)
    if (joined) session.rooms.add(room);
    else session.rooms.delete(room);
}

function emit() {
  const name = pick(["A", "B"]);
  const namespace = pick(NAMESPACES);
  const of = apps[name].of(namespace);
  const filler = random() < 0.03 ? pick(FILLERS) : pick(FILLERS.slice(0, 3));
  const alive = [...ledger.sessions.values()].filter((each) => each.namespace === namespace && each.over === Infinity);
  const rest = (key) => [filler, ...(random() < 0.2 ? [Buffer.from(key)] : []), ...(random() < 0.3 ? ["last"] : [])];
  const send = (operator, to, options) => {
    const key = ledger.emit(name, namespace, to, options);
    trace(`${key} kind ${kind} ${namespace} to ${to} except ${out}`);
    operator.emit("event", key, ...rest(key));
  };
  const kind = below(8);
  const to = some(ROOMS, 2);
  const out = some(ROOMS, 2);
  if (kind < 3) {
    const matches = (session) => (to.length === 0 || inside(to)(session)) && !inside(out)(session);
    send(of.to(to).except(out), matches);
  } else if (kind === 3) send(of.to(to).volatile, (session) => to.length === 0 || inside(to)(session), { volatile: true });
  else if (alive.length > 0) {
    const session = pick(alive);
    const own = sockets.get(session.sid);
    const mine = (each) => each === session;
    if (kind === 4) send(of.to(session.sid), mine);
    else if (own === undefined || own.nsp.server !== apps[name]) send(of, () => true);
    else if (kind === 5) send(own.broadcast, (each) => each !== session);
    else if (kind === 6) send(own, mine);
    else if (own.connected) {
      const key = ledger.emit(name, namespace, mine, { again: true });
      own.emit("event", key, filler, () => {});
    }
  }
}

const b64 = (text) => Buffer.from(text).toString("base64url");

async function rest() {
  const namespace = pick(NAMESPACES);
  const room = pick(ROOMS);
  const group = `0~${b64(namespace)}~${b64(room)}`;
  const address = `${endpoint.replace(/\/$/, "")}/api/hubs/${HUB}/groups/${group}/:send`;
  const head = b64(JSON.stringify({ alg: "HS256", typ: "JWT" }));
  const body = b64(JSON.stringify({ aud: address, exp: Math.floor(Date.now() / 1000) + 60 }));
  const sign = createHmac("sha256", accessKey).update(`${head}.${body}`).digest("base64url");
  const key = ledger.emit("R", namespace, inside([room]));
  const packet = `42${namespace === "/" ? "" : `${namespace},`}${JSON.stringify(["event", key])}`;
  const answer = await fetch(`${address}?api-version=2024-01-01`, {
    method: "POST",
    headers: { authorization: `Bearer ${head}.${body}.${sign}`, "content-type": "text/plain" },
    body: packet,
  });
  if (!answer.ok) problems.push(`REST: ${answer.status} ${await answer.text()}`);
}

// Both links have carried out everything that was sent before.
const barrier = () => Promise.all(Object.values(apps).map((io) => io.in("nobody").fetchSockets()));

await settled();
await sleep(100);
const breaking = breakConnections();
const until = performance.now() + Number(seconds) * 1_000;
// A busy machine takes longer for the same number of cuts.
while (performance.now() < until || counts.cuts < CUTS) {
  for (let moves = below(4); moves > 0; moves -= 1) await move();
  await barrier();
  for (let emits = below(12); emits > 0; emits -= 1) {
    emit();
    if (random() < 0.3) await sleep(below(8));
  }
  if (random() < 0.3) await rest();
  await barrier();
}
bad = false;
await breaking;
await sleep(4_200);
await settled();
await sleep(500);

const names = (rooms, id) => [...rooms].filter((room) => room !== id).sort().join();

async function check() {
  const live = new Set(phones.flatMap((phone) => [...phone.sessions.values()]));
  const faults = [...ledger.sessions.values()].flatMap((session) => session.check(live.has(session)));
  for (const namespace of NAMESPACES) faults.push(...(await compare(namespace, live)));
  return faults;
}

// Rooms and app servers of the sockets, as everybody has them.
async function compare(namespace, live) {
  const faults = [];
  const listed = new Map((await apps.A.of(namespace).fetchSockets()).map((one) => [one.id, one]));
  for (const session of live) {
    if (session.namespace !== namespace) continue;
    const { sid } = session;
    const own = Object.values(apps).map((io) => io.of(namespace).sockets.get(sid)).filter(Boolean);
    const wanted = names(session.rooms, sid);
    if (!listed.has(sid)) faults.push(`${sid} is not listed`);
    else if (names(listed.get(sid).rooms, sid) !== wanted) faults.push(`${sid} is listed in ${[...listed.get(sid).rooms]}, not ${wanted}`);
    if (own.length !== 1) faults.push(`${own.length} app servers have ${sid}`);
    else if (names(own[0].rooms, sid) !== wanted) faults.push(`the app has ${sid} in ${[...own[0].rooms]}, not ${wanted}`);
  }
  return faults;
}

// A busy machine needs longer until all has arrived.
const end = performance.now() + 20_000;
let faults = await check();
while (faults.length && performance.now() < end) {
  await sleep(100);
  faults = await check();
}
if (process.env.TRACE) require("node:fs").writeFileSync(process.env.TRACE, lines.join("\n"));
console.log(JSON.stringify({ ...counts, emits: ledger.count, sessions: ledger.sessions.size, faults, problems: [...new Set(problems)] }));
process.exit(0);
