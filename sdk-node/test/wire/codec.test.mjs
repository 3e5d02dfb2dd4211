// Cases that the vectors do not cover: damaged bytes of every kind, and the reuse of buffers.

import { deepStrictEqual, ok, strictEqual, throws } from "node:assert";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { decode, encode } from "@msgpack/msgpack";

import { decodeBatch } from "../../dist/esm/wire/decode.js";
import { MoorageError } from "../../dist/esm/wire/errors.js";
import { Type } from "../../dist/esm/wire/frames.js";
import { Outgoing } from "../../dist/esm/wire/stream.js";

const vectors = JSON.parse(readFileSync(new URL("../../../conformance/link-vectors.json", import.meta.url)));
const batches = vectors.frames
  .filter(({ direction, hex }) => direction !== "app" && typeof hex === "string")
  .map(({ hex }) => Buffer.from(`93010091${hex}`, "hex"));
const generous = { window: 2 ** 40, maxBatch: 2 ** 40, maxQueue: 2 ** 40 };

/** Decodes to a value, or raises `link-bad-frame`. */
function survives(bytes) {
  try {
    return decodeBatch(bytes) !== undefined;
  } catch (error) {
    ok(error instanceof MoorageError && error.reason === "link-bad-frame", String(error.stack));
    return false;
  }
}

test("cut at every byte: refused", () => {
  for (const batch of batches)
    for (let end = 0; end < batch.length; end += 1) strictEqual(survives(batch.subarray(0, end)), false);
});

test("something after the end: refused", () => {
  for (const batch of batches) strictEqual(survives(Buffer.concat([batch, Buffer.from([0xc0])])), false);
});

// Each byte in turn gets a fifth of all values; the bytes after it get the others.
test("every byte changed to many values: a value or link-bad-frame", () => {
  for (const batch of batches) {
    const damaged = Buffer.from(batch);
    for (let at = 0; at < batch.length; at += 1) {
      for (let value = at % 5; value < 256; value += 5) {
        damaged[at] = value;
        survives(damaged);
      }
      damaged[at] = batch[at];
    }
  }
});

test("decoded values do not share the buffer", () => {
  const bytes = Buffer.from(encode([1, 0, [[Type.Packet, 5, Buffer.from('42["e"]')]]]));
  const batch = decodeBatch(bytes);
  bytes.fill(0);
  deepStrictEqual(batch.frames, [{ type: Type.Packet, client: 5, payload: '42["e"]' }]);
});

test("strings must be UTF-8, payloads need not be, and U+FFFD is an ordinary character", () => {
  const left = (bytes) => Buffer.concat([Buffer.from([0x93, 1, 0, 0x91, 0x93, 7, 1, 0xa0 | bytes.length]), Buffer.from(bytes)]);
  for (const bytes of [[0xff], [0xc3], [0xed, 0xa0, 0x80], [0xc0, 0xaf]]) strictEqual(survives(left(bytes)), false);
  strictEqual(decodeBatch(left([0xef, 0xbf, 0xbd])).frames[0].namespace, "\ufffd");
  const payload = Buffer.from([0x93, 1, 0, 0x91, 0x93, 4, 1, 0xc4, 2, 0x61, 0xff]);
  strictEqual(decodeBatch(payload).frames[0].payload, "a\ufffd");
});

test("a batch is not changed by frames queued later", () => {
  const out = new Outgoing(generous);
  const taken = [];
  for (let i = 0; i < 200; i += 1) {
    out.queue({ type: Type.Packet, client: i, payload: String(i).repeat(i) });
    taken.push(out.take(0));
  }
  for (const [i, batch] of taken.entries()) strictEqual(text(decode(batch)[2][0][2]), String(i).repeat(i));
});

test("text of every length and width survives a round trip", () => {
  const out = new Outgoing(generous);
  for (const unit of ["x", "é", "水", "🐟", "x🐟"])
    for (const count of [0, 1, 5, 11, 12, 13, 31, 32, 127, 128, 255, 256, 21845, 21846, 65535, 65536, 90000]) {
      const payload = unit.repeat(count);
      out.queue({ type: Type.Tell, ref: 0, namespace: payload, timeout: 0, payload });
      const [, , [frame]] = decode(out.take(0));
      ok(frame[2] === payload && text(frame[4]) === payload, `${count} x ${unit}`);
    }
});

test("an invalid number does not affect other frames", () => {
  const out = new Outgoing(generous);
  out.queue({ type: Type.Close, client: 1 });
  for (const timeout of [-1, NaN, Infinity, 2 ** 53, 1e300]) {
    const frame = { type: Type.Tell, ref: 7, namespace: "/a", timeout, payload: "x" };
    throws(() => out.queue(frame), RangeError, `${timeout}`);
  }
  out.queue({ type: Type.Close, client: 2 });
  deepStrictEqual(decode(out.take(0))[2], [[Type.Close, 1], [Type.Close, 2]]);
});

test("half a surrogate pair becomes U+FFFD, because UTF-8 cannot encode it", () => {
  const out = new Outgoing(generous);
  out.queue({ type: Type.Packet, client: 1, payload: "a\ud800" });
  strictEqual(text(decode(out.take(0))[2][0][2]), "a\ufffd");
});

test("a frame that is too large for the service is refused and does not affect others", () => {
  const out = new Outgoing({ ...generous, maxBatch: 1000 });
  out.queue({ type: Type.Close, client: 1 });
  throws(() => out.queue({ type: Type.Packet, client: 2, payload: "x".repeat(1000) }), {
    reason: "link-frame-too-large",
    message: /at most 1000/,
  });
  out.queue({ type: Type.Close, client: 3 });
  deepStrictEqual(decode(out.take(0))[2], [[6, 1], [6, 3]]);
});

test("the largest frame that is accepted fits the largest message, for all batch numbers", () => {
  const out = new Outgoing({ ...generous, maxBatch: 1000 });
  out.last = 2 ** 53 - 1_000;
  for (let length = 900; ; length += 1) {
    try {
      out.queue({ type: Type.Packet, client: 2, payload: "x".repeat(length) });
    } catch {
      break;
    }
    ok(out.take(2 ** 53 - 1).length <= 1000);
  }
});

test("more than maxQueue bytes are refused; queued frames stay intact", () => {
  const out = new Outgoing({ ...generous, window: 1, maxQueue: 700_000 });
  out.queue({ type: Type.Close, client: 0 });
  const sent = [out.take(0)];
  let queued = 0;
  const more = () => out.queue({ type: Type.Packet, client: queued, payload: "x".repeat(1000) });
  throws(() => {
    for (;;) {
      more();
      queued += 1;
    }
  }, { reason: "link-overflow", number: 1108, message: /maxQueueBytes/ });
  ok(out.waiting <= 700_000 && out.waiting > 698_000, String(out.waiting));
  for (let next; (next = out.take(0) ?? undefined) || out.waiting; ) {
    if (next) sent.push(next);
    out.acknowledge(out.last);
  }
  const clients = sent.flatMap((batch) => decode(batch)[2].map((frame) => frame[1]));
  deepStrictEqual(clients, [0, ...Array(queued).keys()]);
  more();
});

const text = (bytes) => Buffer.from(bytes).toString();
