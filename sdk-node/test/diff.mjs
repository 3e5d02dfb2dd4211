import { createServer } from "node:http";
import { Server } from "socket.io";
import { io as connect } from "socket.io-client";
import { Service } from "../../tests/node/lib/service.mjs";
import { useMoorage } from "../dist/esm/index.js";
import assert from "node:assert";
const service = await Service.start();
let n = 0;
const pause = (ms) => new Promise((r) => setTimeout(r, ms));
async function native(opts) {
  const http = createServer(); await new Promise((r) => http.listen(0, "127.0.0.1", r));
  const io = new Server(http, opts);
  return { io, url: `http://127.0.0.1:${http.address().port}`, path: "/socket.io/" };
}
async function ours(opts) {
  const io = new Server(opts); const hub = `d${++n}`;
  const m = await useMoorage(io, { hub, connectionString: service.connectionString(), log: () => {} });
  m.on("error", (e) => io.log?.push("REPORTED " + e.message));
  io.moorage = m;
  return { io, url: service.url, path: `/clients/socketio/hubs/${hub}/` };
}
const scenarios = {};
export const scenario = (name, opts, body) => (scenarios[name] = { opts, body });
scenario("handshake", {}, async ({ io, client, log }) => {
  const got = new Promise((r) => io.on("connection", r));
  client("/", { query: { a: "1", b: "x y" }, extraHeaders: { "x-a": "1", origin: "http://o" }, auth: { t: 1 } });
  const s = await got; const h = s.handshake;
  const keys = Object.keys(h.headers).filter((k) => !["host"].includes(k)).sort();
  log(Object.keys(h).sort().join(), keys.join(), h.address, h.xdomain, h.secure, typeof h.time, typeof h.issued, h.url.replace(/^[^?]*/, "").replace(/t=[^&]*/, "t="), JSON.stringify(h.query).replace(/"t":"[^"]*"/, ""), JSON.stringify(h.auth), s.request.method, s.conn.protocol);
});
scenario("order in middleware and connection", {}, async ({ io, client, log }) => {
  io.use((s, next) => { s.emit("from mw", 1); s.join("r"); io.to("r").emit("room in mw"); io.to(s.id).emit("id in mw"); next(); });
  io.on("connection", (s) => { s.emit("a", 1); io.emit("b", 2); io.to("r").emit("c"); s.emit("d", (x) => log("ack", x)); s.join("q"); io.to("q").emit("e"); s.broadcast.emit("never"); io.to(s.id).emit("f"); s.volatile.emit("g"); s.emit("h"); });
  const c = client("/"); const heard = []; c.onAny((e, ...a) => { heard.push(e); if (e === "d") a[0]("yes"); });
  await pause(300); log(heard.join());
});
scenario("refused after join: what reaches the wire", {}, async ({ io, client, log }) => {
  let go; io.use((s, next) => { s.join("r"); go = next; });
  const c = client("/"); const wire = []; c.io.on("open", () => c.io.engine.on("data", (d) => wire.push(String(d).replace(/"sid":"[^"]*"/, ""))));
  c.on("connect_error", (e) => log("ce", e.message, JSON.stringify(e.data)));
  await pause(200); io.to("r").emit("secret"); io.emit("public"); log((await io.in("r").fetchSockets()).length, [...(await io.in("r").allSockets())].length);
  await pause(100); go(Object.assign(new Error("no"), { data: { d: 1 } })); await pause(200); log(wire.filter((x) => !x.startsWith("0{")).join(" | "));
});
scenario("gone while middleware pends", {}, async ({ io, client, log }) => {
  let s0, go; io.use((s, next) => { s0 = s; go = next; }); io.on("connection", () => log("CONNECTED"));
  const c = client("/"); await pause(200); c.io.engine.close(); await pause(200);
  try { s0.join("x"); s0.emit("y"); go(); } catch (e) { log("threw", e.message); } await pause(100);
  log(s0.connected, s0.disconnected, io.of("/").sockets.size, io.of("/")._preConnectSockets.size, io.engine.clientsCount, [...io.of("/").adapter.rooms.keys()].length);
});
for (const [what, act] of [["conn.close", (s) => s.conn.close()], ["disconnect", (s) => s.disconnect()], ["disconnect(true)", (s) => s.disconnect(true)], ["io.disconnectSockets", (s, io) => io.disconnectSockets()], ["io.disconnectSockets(true)", (s, io) => io.disconnectSockets(true)], ["client.disconnect", (s, io, c) => c.disconnect()], ["client engine close", (s, io, c) => c.io.engine.close()], ["garbage", (s, io, c) => c.io.engine.write("garbage")], ["event before connect ns", (s, io, c) => c.io.engine.write("2/other2,[\"x\"]")], ["io.close", (s, io) => io.close()], ["conn.transport error", (s, io, c) => c.io.engine.transport.ws?.terminate?.()]])
  scenario("ends by " + what, {}, async ({ io, client, log }) => {
    const all = []; io.of("/b").on("connection", (s) => s.on("disconnect", (r) => all.push("b:" + r)));
    const came = new Promise((r) => io.on("connection", r));
    const c = client("/"); const b = c.io.socket("/b"); b.on("disconnect", (r) => all.push("cb:" + r)); c.on("disconnect", (r) => all.push("ca:" + r));
    const s = await came; s.on("disconnecting", (r) => all.push("ing:" + [...s.rooms].length)); s.on("disconnect", (r, d) => all.push("a:" + r)); s.on("error", (e) => all.push("err:" + e.message));
    await pause(100); act(s, io, c); await pause(300); log(all.sort().join(" | "), s.connected, io.engine.clientsCount);
    s.emit("after"); s.volatile.emit("after"); log(s.join("x"), s.leave("x"), [...s.rooms].length, s.disconnect() === s);
  });
scenario("acks", {}, async ({ io, client, log }) => {
  const came = new Promise((r) => io.on("connection", r)); const c = client("/"); const s = await came;
  c.on("q", (v, cb) => cb(v, "two", Buffer.from("b"))); c.on("none", () => {}); c.on("two", (cb) => { cb(1); cb(2); });
  log(await s.emitWithAck("q", 1));
  log(await s.timeout(100).emitWithAck("none").catch((e) => e.message + JSON.stringify(e.responses)));
  log(await io.timeout(100).emitWithAck("none").catch((e) => e.message + JSON.stringify(e.responses)));
  log(JSON.stringify(await io.timeout(500).emitWithAck("q", 5)));
  log(JSON.stringify(await io.to("nobody").timeout(500).emitWithAck("q", 5)));
  log(await io.emitWithAck("none").catch((e) => e.message + JSON.stringify(e.responses)));
  log(JSON.stringify(await io.local.timeout(500).emitWithAck("two")));
  log(JSON.stringify(await s.volatile.emitWithAck("q", Buffer.from("x")).then((x) => [...x])));
  const [r] = await io.fetchSockets(); log(await r.timeout(300).emitWithAck("q", 3));
  s.timeout(50).emit("none", (e, ...a) => log("cb", e.message, a.length)); await pause(120);
  const p = s.timeout(100).emitWithAck("none").catch((e) => "late " + e.message); c.disconnect(); log(await p, s.acks.size);
  log(await io.timeout(100).emitWithAck("q", 1));
});
scenario("socket.use and errors", {}, async ({ io, client, log }) => {
  io.on("connection", (s) => { s.use(([e], next) => next(e === "bad" ? Object.assign(new Error("x"), { data: { a: 1 } }) : undefined)); s.on("error", (e) => { log("error", e.message, JSON.stringify(e.data)); s.disconnect(); }); s.on("ok", (cb) => cb("ok")); });
  const c = client("/"); c.on("disconnect", (r) => log(r)); log(await c.emitWithAck("ok")); c.emit("bad"); await pause(100);
});
scenario("dynamic", { cleanupEmptyChildNamespaces: true }, async ({ io, client, log }) => {
  const made = []; io.on("new_namespace", (ns) => made.push(ns.name));
  const p = io.of(/^\/d-\d$/).on("connection", (s) => { s.join("r"); log("conn", s.nsp.name); });
  p.use((s, next) => (s.handshake.auth.bad ? next(new Error("bad")) : next()));
  const a = client("/d-1"), b = client("/d-1", { auth: { bad: 1 } }); b.on("connect_error", (e) => log(e.message)); const w = client("/zzz"); w.on("connect_error", (e) => log(e.message));
  await pause(200); const heard = []; a.onAny((e) => heard.push(e)); p.emit("pe"); p.to("r").emit("pr"); io.of("/d-1").emit("ce"); io.of("/d-1").to("r").emit("cr"); io.of("/").emit("root");
  await pause(100); log(heard.join(), made.join(), [...io._nsps.keys()].join()); a.disconnect(); await pause(100); log([...io._nsps.keys()].join());
  const c2 = client("/d-1"); await pause(100); const h2 = []; c2.onAny((e) => h2.push(e)); io.of("/d-1").emit("again"); await pause(60); log(h2.join());
});
scenario("rooms and events", {}, async ({ io, client, log }) => {
  const came = new Promise((r) => io.on("connection", r)); const c = client("/"); const s = await came; const ev = [];
  for (const e of ["create-room", "join-room", "leave-room", "delete-room"]) io.of("/").adapter.on(e, (r) => ev.push(e[0] + e.at(-6) + ":" + (r === s.id ? "ID" : r)));
  const heard = []; c.onAny((e) => heard.push(e));
  await s.join(["a", "b"]); s.join(5); s.leave("a"); io.to(5).emit("five"); io.to("5").emit("five text"); io.to("b").except("zz").emit("b"); io.to("a").emit("a"); io.to([]).emit("all?"); io.in(s.id).socketsJoin("late"); s.leave("late"); io.to("late").emit("late!"); io.in(s.id).socketsLeave("b"); s.join("b"); io.to("b").emit("b again"); await pause(150);
  log([...s.rooms].map((r) => (r === s.id ? "ID" : r)).sort().join(), heard.join()); c.disconnect(); await pause(60); log(s.rooms.size, io.of("/").adapter.rooms.size, io.of("/").adapter.sids.size);
});
scenario("engine", {}, async ({ io, client, log }) => {
  log(typeof io.engine.clientsCount, typeof io.engine.use, io.engine.opts?.pingInterval);
  io.engine.use((q, r, n) => { q.mark = Object.keys(q._query).filter((k) => !["t", "sid"].includes(k)).sort().join(); n(); });
  io.engine.on("connection_error", (e) => log("ce", e.code, e.message, Object.keys(e).sort().join()));
  const came = new Promise((r) => io.on("connection", r)); const c = client("/", { query: { z: "1" } }); const s = await came; log(s.request.mark, s.conn.readyState, s.conn.transport.name, s.client.conn === s.conn, s.conn.id === c.io.engine.id);
  const ce = []; s.conn.on("close", (r) => ce.push(r)); s.conn.on("packet", (p) => ce.push(p.type + ":" + p.data)); s.conn.on("data", (d) => ce.push("d" + d)); c.emit("x", 1); await pause(50); c.io.engine.close(); await pause(80); log(ce.join("|"), s.conn.readyState, io.engine.clientsCount);
});
scenario("closing", {}, async ({ io, client, log }) => {
  io.on("connection", (s) => s.on("disconnect", (r) => log(r, s.rooms.size))); client("/"); await pause(150);
  let called = 0; await io.close(() => called++); log(called, io.of("/").sockets.size); await io.close(() => called++); log(called);
  for (const f of [() => io.fetchSockets(), () => io.of("/").adapter.serverCount()]) log(await Promise.resolve().then(f).then((x) => "ok", (e) => "rej"));
});
const only = process.argv[2];
let transportsList = [["websocket"], ["polling"]];
for (const [name, { opts, body }] of Object.entries(scenarios)) {
  if (only && !name.includes(only)) continue;
  for (const transports of transportsList) {
    const outs = [];
    for (const make of [native, ours]) {
      const lines = []; const w = await make({ ...opts }); w.io.log = lines; const cs = [];
      const client = (nsp, o = {}) => { const c = connect(w.url + nsp, { path: w.path, transports, reconnection: false, forceNew: true, ...o }); cs.push(c); return c; };
      const log = (...a) => lines.push(a.map((x) => (typeof x === "string" ? x : x === undefined ? "undefined" : x instanceof Promise ? "promise" : JSON.stringify(x))).join(" "));
      try { await Promise.race([body({ io: w.io, client, log }), pause(8000).then(() => log("TIMEOUT"))]); } catch (e) { lines.push("THREW " + e.stack.split("\n").slice(0, 3)); }
      for (const c of cs) { c.disconnect(); }
      await w.io.close().catch(() => {});
      outs.push(lines.join("\n"));
    }
    console.log(outs[0] === outs[1] ? `same  ${name} ${transports}` : `DIFF  ${name} ${transports}\n--native\n${outs[0]}\n--ours\n${outs[1]}`);
  }
}
await service.stop(); process.exit(0);
