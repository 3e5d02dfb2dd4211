// Runs the vectors of conformance/link-vectors.json that concern an app server.

import { deepStrictEqual, strictEqual, throws } from "node:assert";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";

import { decode } from "@msgpack/msgpack";

import { decodeBatch } from "../../dist/esm/wire/decode.js";
import { encodeFrame } from "../../dist/esm/wire/encode.js";
import { Type } from "../../dist/esm/wire/frames.js";
import { Incoming, Outgoing, unnumbered } from "../../dist/esm/wire/stream.js";
import { Writer } from "../../dist/esm/wire/writer.js";

const vectors = JSON.parse(readFileSync(new URL("../../../conformance/link-vectors.json", import.meta.url)));
const refused = { name: "MoorageError", reason: "link-bad-frame", number: 4002 };
const named = ({ name, what, why }) => [name, what, why].filter(Boolean).join(": ");

/** The vectors use Python's names. */
const camel = (name) => name.replace(/_(.)/g, (_, letter) => letter.toUpperCase());

/** A value in the form of the vectors; this package decodes bins as text. */
function plain(value) {
  if (Array.isArray(value)) return value.map(plain);
  if (value === null || typeof value !== "object") return value;
  const { times = 1 } = value;
  if ("text" in value) return value.text.repeat(times);
  if ("hex" in value) return Buffer.from(value.hex.repeat(times), "hex").toString();
  if ("str" in value) return value.str.repeat(times);
  if ("type" in value && "frame" in value) return frame(value);
  if ("list" in value) return Array.from({ length: times }, () => value.list.map(plain)).flat();
  return fields(value);
}

function fields(object) {
  return Object.fromEntries(Object.entries(object).map(([name, value]) => [camel(name), plain(value)]));
}

const frame = ({ type, frame: given }) => ({ type, ...fields(given) });
const frames = (given) => given.flatMap((one) => Array(one.times ?? 1).fill(frame(one)));

/** The rows of `Sockets` are decoded on access, so this accesses all of them. */
function read(batch) {
  const whole = ({ id, connection, user, server, opened, rooms, handshake, shared }) => ({ id, connection, user, server, opened, rooms, handshake, shared });
  const frames = batch.frames.map((one) => (one.type === Type.Sockets ? { ...one, rows: [...one.rows].map(whole) } : one));
  return { ...batch, frames };
}

function bytes(hex) {
  if (typeof hex === "string") return Buffer.from(hex, "hex");
  return Buffer.concat(hex.flatMap(([part, times]) => Array(times).fill(bytes(part))));
}

function encoded(given) {
  const out = new Writer();
  encodeFrame(out, given);
  const copy = Buffer.alloc(out.size);
  out.copyTo(copy, 0, 0, out.size);
  return copy;
}

describe("frames", () => {
  for (const vector of vectors.frames) {
    const whole = bytes(vector.hex);
    if (vector.direction !== "service")
      test(`encode ${named(vector)}`, () => deepStrictEqual(encoded(frame(vector)), whole));
    if (vector.direction !== "app")
      test(`decode ${named(vector)}`, () => {
        const batch = decodeBatch(Buffer.concat([Buffer.from([0x93, 1, 0, 0x91]), whole]));
        deepStrictEqual(read(batch), { number: 1, ack: 0, frames: [frame(vector)] });
      });
  }
});

describe("batches", () => {
  for (const vector of [...vectors.batches, ...vectors.tolerated]) {
    if (vector.direction === "app") continue;
    test(named(vector), () => {
      const { number, ack } = vector;
      deepStrictEqual(read(decodeBatch(bytes(vector.hex))), { number, ack, frames: frames(vector.frames) });
    });
  }
});

describe("batches to encode", () => {
  for (const vector of vectors.batches) {
    if (vector.direction === "service") continue;
    test(named(vector), () => deepStrictEqual(batchOf(vector), bytes(vector.hex)));
  }
});

/** Uses the public interface: a numbered batch is the newest of `number` batches. */
function batchOf({ number, ack, frames: given }) {
  if (number === 0) return unnumbered(ack, ...frames(given));
  const out = new Outgoing(limits(Infinity));
  out.last = number - 1;
  for (const one of frames(given)) out.queue(one);
  return out.take(ack);
}

describe("refused", () => {
  for (const vector of vectors.refused) {
    if (vector.direction === "app") continue;
    test(named(vector), () => throws(() => decodeBatch(bytes(vector.hex)), refused));
  }
});

const limits = (window) => ({ window, maxBatch: 2 ** 40, maxQueue: 2 ** 40 });

describe("stream", () => {
  for (const vector of vectors.stream) test(named(vector), () => run(vector));
});

function run({ window, steps }) {
  const out = new Outgoing(limits(window.out));
  const incoming = new Incoming(window.in);
  for (const step of steps) {
    const act = () => STEPS[step.do](out, incoming, step);
    if (step.refused) throws(act, refused);
    else act();
  }
}

/** The members that the vectors call `state`, by their names there. */
const STATE = {
  waiting: (out) => out.waiting,
  in_flight: (out) => out.inFlight,
  blocked: (out) => out.blocked,
  last: (out) => out.last,
  received: (_, incoming) => incoming.received,
  ack: (_, incoming) => incoming.ack,
  has_news: (_, incoming) => incoming.hasUnsentAck,
  is_due: (_, incoming) => incoming.isDue,
};

const STEPS = {
  queue: (out, _, { frame: hex, times = 1 }) => {
    const one = appFrame(bytes(hex));
    for (let i = 0; i < times; i += 1) out.queue(one);
  },
  take: (out, _, { ack, batch }) => deepStrictEqual(out.take(ack), batch === null ? undefined : bytes(batch)),
  taken: (out, _, { ack }) => out.acknowledge(ack),
  arrived: (_, incoming, step) => strictEqual(incoming.arrived(step.number, step.size), step.new),
  take_all: (_, incoming) => incoming.takeAll(),
  told: (_, incoming, { ack }) => strictEqual(incoming.takeAck(), ack),
  cut: () => {},
  resume: (out, _, { received, batches }) => deepStrictEqual(out.resume(received), batches?.map(bytes)),
  state: (out, incoming, { do: _, ...wanted }) => {
    const found = Object.fromEntries(Object.keys(wanted).map((name) => [name, STATE[name](out, incoming)]));
    deepStrictEqual(found, wanted);
  },
};

/** The stream's vectors contain frames of these two types; the package queues frames, not bytes. */
function appFrame(hex) {
  const [type, client, payload] = decode(hex);
  return type === Type.Close ? { type, client } : { type, client, payload: Buffer.from(payload).toString() };
}
