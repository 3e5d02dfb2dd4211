// Frames of a lost session never enter the next one. The scripted service uses the numbers of clients and questions
// again in its second session, as a restarted one does: any late frame of the first session would reach them.

import { deepStrictEqual, rejects, strictEqual } from "node:assert";
import { once } from "node:events";
import { test } from "node:test";

import { Server } from "socket.io";

import { useMoorage } from "../../dist/esm/index.js";
import { next, within } from "../../../tests/node/lib/waiting.mjs";
import { Peer, packet, payload } from "./peer.mjs";

const [OPEN, OPENED, PACKET, EMIT, QUERY, FACTS, TOLD, REPLY, UNFINISHED, SETTLED] = [1, 2, 4, 10, 32, 33, 41, 42, 64, 65];
const HANDSHAKE = Buffer.from(JSON.stringify({ headers: {}, query: {}, claims: {} }));

const open = (client, id = `sid-${client}`) => [OPEN, client, id, null, HANDSHAKE];
const told = (ref, event) => [TOLD, ref, "other", "/", Buffer.from(`42["${event}"]`)];

/** An app server that `configure` has set up, with its link to a scripted service. */
async function stage(t, configure = () => {}, fields = {}, options = {}) {
  const peer = await Peer.start(t);
  const io = new Server();
  configure(io);
  const errors = [];
  const made = useMoorage(io, { hub: "chat", connectionString: `Endpoint=${peer.endpoint};AccessKey=key;`, ...options });
  const line = await peer.greeted(fields);
  const moorage = await within(made, "the link");
  moorage.on("error", (error) => errors.push(error));
  t.after(() => io.close());
  return { peer, io, line, moorage, errors };
}

/** Cuts the link; resolves when the app server has noticed. */
async function cut({ line, moorage }) {
  const lost = next(moorage, "lost");
  line.cut();
  await lost;
}

/** The service answers with a new session. */
async function newSession({ peer, moorage }) {
  const restored = next(moorage, "restored");
  const line = await peer.greeted({ session: "T" });
  deepStrictEqual(await restored, [false]);
  return line;
}

/** Takes frames off the line until `isLast`; returns all of them. */
async function framesUntil(line, isLast) {
  const frames = [];
  for (;;) {
    const [, , some] = await line.numbered();
    frames.push(...some);
    if (some.some(isLast)) return frames;
  }
}

const isType = (type) => (frame) => frame[0] === type;

/** The service opens a client, which enters the namespace "/"; resolves with the app's socket. The app server must
 * not have sent anything else. */
async function connect(io, line, client, id) {
  const connection = once(io, "connection");
  line.send([open(client, id), packet(client, "40")]);
  const [socket] = await connection;
  const frames = await framesSoFar(io, line);
  deepStrictEqual(frames.map(([type, number]) => [type, number]), [[OPENED, client], [PACKET, client]]);
  strictEqual(payload(frames[1]), `40{"sid":"${socket.id}"}`);
  return socket;
}

/** All frames of the session up to an emit that is sent now. */
async function framesSoFar(io, line) {
  // Handlers that run in later turns of the event loop come first.
  for (let turn = 0; turn < 5; turn += 1) await new Promise(setImmediate);
  io.emit("fence");
  const frames = await framesUntil(line, (frame) => frame[0] === EMIT && payload(frame).includes("fence"));
  return frames.slice(0, -1);
}

/** Everything that an app may do with a socket that it has kept. */
function useAll(socket) {
  socket.emit("late");
  socket.emit("late", Buffer.from([1, 2]));
  socket.volatile.emit("late");
  socket.emit("late", () => {});
  socket.send("late");
  socket.conn.write("2late");
  socket.leave("room");
  socket.disconnect(true);
  socket.conn.close();
}

test("an app's late use of an old client's socket sends nothing in the new session", async (t) => {
  const s = await stage(t);
  const socket = await connect(s.io, s.line, 1, "old");
  const acks = [];
  socket.on("question", (ack) => acks.push(ack));
  s.line.send([packet(1, '420["question"]')]);
  await framesSoFar(s.io, s.line);
  await cut(s);
  const line = await newSession(s);
  await connect(s.io, line, 1, "new");
  acks[0]("late answer");
  useAll(socket);
  deepStrictEqual(await framesSoFar(s.io, line), []);
});

test("what an app sends to a client while the link is down does not enter the new session", async (t) => {
  const s = await stage(t);
  const socket = await connect(s.io, s.line, 1, "old");
  await cut(s);
  const joined = rejects(socket.join("room"), { reason: "session-lost" });
  useAll(socket);
  const line = await newSession(s);
  await joined;
  await connect(s.io, line, 1, "new");
  deepStrictEqual(await framesSoFar(s.io, line), []);
});

test("handlers of a lost client's end send nothing about it in the new session", async (t) => {
  const s = await stage(t);
  const socket = await connect(s.io, s.line, 1, "old");
  socket.on("disconnecting", () => {
    void socket.join("late")?.catch(() => {});
    void socket.leave("late")?.catch(() => {});
    socket.emit("late");
  });
  const ended = new Promise((resolve) =>
    socket.on("disconnect", async (reason) => {
      useAll(socket);
      await null;
      useAll(socket);
      resolve(reason);
    }),
  );
  await cut(s);
  const line = await newSession(s);
  strictEqual(await ended, "transport close");
  await connect(s.io, line, 1, "new");
  deepStrictEqual(await framesSoFar(s.io, line), []);
});

test("an answer to a question of a lost session is dropped; the new question with its number is answered", async (t) => {
  const s = await stage(t);
  const replies = [];
  s.io.on("ask", (reply) => replies.push(reply));
  s.line.send([told(1, "ask")]);
  await framesSoFar(s.io, s.line);
  await cut(s);
  const line = await newSession(s);
  line.send([told(1, "ask")]);
  await framesSoFar(s.io, line);
  strictEqual(replies.length, 2);
  replies[0]("old");
  deepStrictEqual(await framesSoFar(s.io, line), []);
  replies[1]("new");
  const [reply] = await framesUntil(line, isType(REPLY));
  deepStrictEqual([reply[1], payload(reply)], [1, '430["new"]']);
});

test("an answer that is given while the link is down does not enter the new session", async (t) => {
  const s = await stage(t);
  const replies = [];
  s.io.on("ask", (reply) => replies.push(reply));
  s.line.send([told(1, "ask")]);
  await framesSoFar(s.io, s.line);
  await cut(s);
  replies[0]("old");
  deepStrictEqual(await framesSoFar(s.io, await newSession(s)), []);
});

test("facts, replies and packets that wait for credit are dropped with their session", async (t) => {
  // A window of one byte: the first batch uses up the credit.
  const s = await stage(t, (io) => io.on("ask", (reply) => reply("old")), { window: 1 });
  s.io.emit("fill");
  await s.line.numbered();
  const opened = once(s.io.engine, "connection");
  s.line.send([open(1, "old"), [QUERY, 1, "/", ["gone"]], told(1, "ask")]);
  await opened;
  while (s.moorage.queuedBytes === 0) await new Promise(setImmediate);
  await cut(s);
  const frames = await framesSoFar(s.io, await newSession(s));
  deepStrictEqual(frames.filter(([type]) => [OPENED, PACKET, FACTS, REPLY].includes(type)), []);
});

test("a middleware that decides after the session is lost admits nobody in the new one", async (t) => {
  const waiting = [];
  const s = await stage(t);
  s.io.engine.use((request, response, proceed) => waiting.push(proceed));
  s.line.send([open(1, "old-1"), open(2, "old-2")]);
  while (waiting.length < 2) await new Promise(setImmediate);
  await cut(s);
  const line = await newSession(s);
  line.send([open(1, "new")]);
  while (waiting.length < 3) await new Promise(setImmediate);
  waiting[0]();
  waiting[1]();
  deepStrictEqual(await framesSoFar(s.io, line), []);
  strictEqual(s.moorage.clientsCount, 0);
  waiting[2]();
  const [opened] = await framesUntil(line, isType(OPENED));
  strictEqual(opened[1], 1);
  deepStrictEqual(Object.keys(s.io.engine.clients), ["new"]);
});

test("a namespace's middleware that decides after the session is lost sends nothing in the new one", async (t) => {
  const waiting = [];
  const s = await stage(t, (io) => io.use((socket, proceed) => waiting.push({ socket, proceed })));
  for (const decide of [(proceed) => proceed(), (proceed) => proceed(new Error("no"))]) {
    s.line.send([open(waiting.length + 1), packet(waiting.length + 1, "40")]);
    const count = waiting.length + 1;
    while (waiting.length < count) await new Promise(setImmediate);
    waiting.at(-1).decide = decide;
  }
  await cut(s);
  const line = await newSession(s);
  line.send([open(1, "new-1"), open(2, "new-2")]);
  await framesUntil(line, (frame) => frame[0] === OPENED && frame[1] === 2);
  for (const { socket, proceed, decide } of waiting) {
    socket.join("room");
    decide(proceed);
  }
  deepStrictEqual(await framesSoFar(s.io, line), []);
});

test("an app server's own requests have new numbers; an answer to an old number resolves none of them", async (t) => {
  const s = await stage(t);
  const old = rejects(s.io.fetchSockets(), { reason: "session-lost" });
  const [asked] = await framesUntil(s.line, isType(30));
  await cut(s);
  const line = await newSession(s);
  await old;
  const fetched = s.io.fetchSockets();
  const [again] = await framesUntil(line, isType(30));
  strictEqual(again[1] > asked[1], true);
  const row = (id) => [id, "connection", null, 0, 0, [], Buffer.alloc(0)];
  line.send([[31, asked[1], ["other"], [row("old")]], [14, asked[1], 1]]);
  line.send([[31, again[1], ["other"], [row("new")]], [14, again[1], 1]]);
  deepStrictEqual((await fetched).map(({ id }) => id), ["new"]);
});

/** The service was restarted: it answers with another node, which goes on with the sockets of the lost one. */
async function restarted(s) {
  const restored = next(s.moorage, "restored");
  const line = await s.peer.greeted({ session: "T", node: "M", recovery: 1, keeps: true });
  deepStrictEqual(await restored, [false]);
  return line;
}

const numberOf = (frame) => frame.at(-1);

test("what an app emits while a node is away reaches its successor, then is handed over, and nothing of it comes twice", async (t) => {
  const s = await stage(t, () => {}, { recovery: 1, keeps: true });
  s.io.emit("not acknowledged");
  await s.line.numbered();
  await cut(s);
  for (const event of ["one", "two"]) s.io.emit(event);
  const frames = await framesSoFar(s.io, await restarted(s));
  deepStrictEqual(
    frames.map((frame) => (frame[0] === UNFINISHED ? [UNFINISHED, ...frame.slice(1, 5), numberOf(frame[5])] : [frame[0], numberOf(frame)])),
    [
      [EMIT, 2],
      [EMIT, 3],
      [UNFINISHED, "N", "S", 1, 0, 1],
      [UNFINISHED, "N", "S", 2, 0, 2],
      [UNFINISHED, "N", "S", 2, 1, 3],
      [SETTLED, 3],
    ],
  );
});

test("a queue that was nearly full while a node was away has room for what is sent and handed over", async (t) => {
  const s = await stage(t, () => {}, { recovery: 1, keeps: true }, { maxQueueBytes: 10_000 });
  await cut(s);
  for (let count = 0; count < 9; count += 1) s.io.emit("x".repeat(1_000));
  const frames = await framesSoFar(s.io, await restarted(s));
  deepStrictEqual(frames.map(([type]) => type), [...Array(9).fill(EMIT), ...Array(9).fill(UNFINISHED), SETTLED]);
  deepStrictEqual(s.errors, []);
});
