// Large emits, and many emits at once, to clients that read and from clients that poll.

import assert from "node:assert/strict";

import { Log, next, within } from "./waiting.mjs";

const MB = 1_000_000;
const LARGE = "x".repeat(3 * MB);

/** The app's socket of each client. `w.app` has made `io`. */
async function pairs(w, io, count, options) {
  const made = [];
  for (let i = 0; i < count; i += 1) {
    const arrived = next(io, "connection");
    const client = await w.client(options);
    made.push({ client, socket: (await arrived)[0] });
  }
  return made;
}

/** Emits far above `limits.outbox_bytes` reach clients that have been idle. */
export async function oneLargeEmit(w) {
  const io = await w.app();
  const made = await pairs(w, io, 2);
  const heard = (name) => Promise.all(made.map(({ client }) => next(client, name, 60_000)));
  for (const { socket } of made) await socket.join("room");
  const ways = {
    all: () => io.emit("all", LARGE),
    room: () => io.to("room").emit("room", LARGE),
    one: () => made.forEach(({ socket }) => socket.emit("one", LARGE)),
    binary: () => io.emit("binary", Buffer.alloc(4 * MB, 1)),
  };
  for (const [name, emit] of Object.entries(ways)) {
    const arrived = heard(name);
    emit();
    for (const [value] of await arrived) assert.equal(value.length, name === "binary" ? 4 * MB : 3 * MB);
  }
  assert.deepEqual(made.map(({ client }) => client.connected), [true, true]);
}

/** 6 MB in one tick. */
export async function burst(w) {
  const io = await w.app();
  const [{ client, socket }] = await pairs(w, io, 1);
  const log = new Log(client);
  const wanted = Array.from({ length: 30 }, (_, i) => i);
  for (const i of wanted) io.emit("news", i, "x".repeat(200_000));
  assert.deepEqual(await log.values("news", { count: 30 }, 60_000), wanted);
  for (const i of wanted) socket.emit("own", i, "x".repeat(200_000));
  assert.deepEqual(await log.values("own", { count: 30 }, 60_000), wanted);
}

/** A stock client packs them into as few payloads as `maxPayload` allows. */
export async function manyFromOneClient(w, count) {
  const io = await w.app();
  const [{ client, socket }] = await pairs(w, io, 1);
  const got = [];
  const all = new Promise((resolve) => {
    socket.on("tick", (i) => got.push(i) === count && resolve());
  });
  for (let i = 0; i < count; i += 1) client.emit("tick", i);
  await within(all, `${count} events`, 60_000);
  assert.equal(got.every((value, at) => value === at), true);
  assert.equal(client.connected, true);
}
