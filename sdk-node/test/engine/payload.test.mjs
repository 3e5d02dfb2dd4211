import assert from "node:assert/strict";
import { test } from "node:test";

import {
  attachments,
  decodeMessage,
  disconnectPacket,
  encodeMessage,
  encodeMessages,
  isDisconnect,
  namespaceOf,
  splitPackets,
  wantsAck,
} from "../../dist/esm/engine/payload.js";

test("text and binary become messages and come back", () => {
  assert.equal(encodeMessage('2["a"]'), '42["a"]');
  assert.equal(decodeMessage('42["a"]'), '2["a"]');
  const bytes = Uint8Array.from([250, 0, 7, 8]);
  for (const form of [Buffer.from(bytes), bytes, bytes.buffer, new DataView(bytes.buffer), new Uint16Array(bytes.buffer)])
    assert.deepEqual(decodeMessage(encodeMessage(form)), Buffer.from(bytes));
  assert.deepEqual(decodeMessage(encodeMessage(bytes.subarray(1, 3))), Buffer.from([0, 7]));
});

test("the packet that ends a socket names its namespace", () => {
  assert.deepEqual(["/", "/chat"].map(disconnectPacket), ["41", "41/chat,"]);
});

test("a packet and its attachments are one payload", () => {
  const payload = encodeMessages(['51-["a",{"_placeholder":true,"num":0}]', Buffer.from("x")]);
  const [text, binary] = splitPackets(payload).map(decodeMessage);
  assert.equal(text, '51-["a",{"_placeholder":true,"num":0}]');
  assert.deepEqual(binary, Buffer.from("x"));
});

test("other packets contain no message", () => {
  for (const packet of ["", "2", "3probe", "6", "0{}"]) assert.equal(decodeMessage(packet), undefined);
});

test("values that are neither text nor bytes are rejected", () => {
  for (const value of [new Blob(["x"]), 1, null, { buffer: 1 }]) assert.throws(() => encodeMessage(value), /cannot be sent/);
});

test("attachments are counted, namespaces found", () => {
  for (const [text, count, namespace, asks = false] of [
    ['2["a"]', 0, "/"],
    ['2/chat,["a/b,c"]', 0, "/chat"],
    ['2/chat,7["a"]', 0, "/chat", true],
    ['27["a"]', 0, "/", true],
    ['52-["a",1,2]', 2, "/"],
    ['52-30["a",1,2]', 2, "/", true],
    ['512-/chat?x,["a"]', 12, "/chat?x"],
    ['61-/chat,5[]', 1, "/chat", true],
    ["1/chat", 0, "/chat"],
    ["0", 0, "/"],
    ['5["a-b"]', 0, "/"],
  ])
    assert.deepEqual([attachments(text), namespaceOf(text), wantsAck(text)], [count, namespace, asks], text);
  assert.deepEqual([isDisconnect("1/chat,"), isDisconnect('2["1"]')], [true, false]);
});
