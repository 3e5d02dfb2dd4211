// Engine.IO packets as text, the form in which the link carries them: `4…` is a message, `b…` is a binary message in
// base64; several packets are joined by 0x1e.

const SEPARATOR = "\x1e";
const MESSAGE = 0x34; // "4"
const BINARY = 0x62; // "b"
const DISCONNECT = 0x31; // "1"
const EVENT = 0x32; // "2"
const ACK = 0x33; // "3"
const BINARY_EVENT = 0x35; // "5"
const BINARY_ACK = 0x36; // "6"
const SLASH = 0x2f;
const ZERO = 0x30;
const NINE = 0x39;

/** Encodes one message. Raises `TypeError` for anything but text, buffers and their views (a `Blob` cannot be read
 * synchronously). */
export function encodeMessage(data: unknown): string {
  if (typeof data === "string") return `4${data}`;
  return `b${bytes(data).toString("base64")}`;
}

/** Encodes the output of a Socket.IO encoder: a packet's text and its attachments. */
export function encodeMessages(parts: readonly unknown[]): string {
  if (parts.length === 1) return encodeMessage(parts[0]);
  return parts.map(encodeMessage).join(SEPARATOR);
}

export const joinPackets = (packets: readonly string[]): string => packets.join(SEPARATOR);

/** Splits a payload into packets; most payloads have one. */
export function splitPackets(payload: string): readonly string[] {
  return payload.includes(SEPARATOR) ? payload.split(SEPARATOR) : [payload];
}

/** Returns the content of a message packet; undefined for packets of other types, which are ignored. */
export function decodeMessage(packet: string): string | Buffer | undefined {
  const type = packet.charCodeAt(0);
  if (type === MESSAGE) return packet.slice(1);
  if (type === BINARY) return Buffer.from(packet.slice(1), "base64");
  return undefined;
}

/** True if a Socket.IO packet's text is a DISCONNECT. */
export const isDisconnect = (text: string): boolean => text.charCodeAt(0) === DISCONNECT;

/** The packet that ends a socket. */
export const disconnectPacket = (namespace: string): string => (namespace === "/" ? "41" : `41${namespace},`);

/** True if a Socket.IO packet's text is an ACK. */
export function isAck(text: string): boolean {
  const type = text.charCodeAt(0);
  return type === ACK || type === BINARY_ACK;
}

/** True if a Socket.IO packet's text is an event that asks for an ack. */
export function isEventWithAck(text: string): boolean {
  const type = text.charCodeAt(0);
  return (type === EVENT || type === BINARY_EVENT) && wantsAck(text);
}

/** The number of attachments that follow a Socket.IO packet's text: `52-["file",…]` has two. */
export function attachments(text: string): number {
  const type = text.charCodeAt(0);
  if (type !== BINARY_EVENT && type !== BINARY_ACK) return 0;
  const end = text.indexOf("-", 1);
  const count = end < 0 ? 0 : Number(text.slice(1, end));
  return Number.isInteger(count) ? count : 0;
}

/** The namespace in a Socket.IO packet's text. */
export function namespaceOf(text: string): string {
  const start = afterAttachments(text);
  if (text.charCodeAt(start) !== SLASH) return "/";
  const end = text.indexOf(",", start);
  return end < 0 ? text.slice(start) : text.slice(start, end);
}

/** The name of the event in a Socket.IO packet's text, at most 128 characters of it. */
export function eventOf(text: string): string {
  const found = /\[\s*"((?:[^"\\]|\\.)*)"/.exec(text.slice(0, 1_024));
  return (found?.[1] ?? "").slice(0, 128);
}

/** Namespace and ack id in a Socket.IO packet's text. An event and its ack have the same. */
export function ackKey(text: string): string {
  const start = afterAttachments(text);
  return text.slice(start, text.indexOf("[", start));
}

/** True if a Socket.IO packet's text contains the id of an ack. */
export function wantsAck(text: string): boolean {
  let at = afterAttachments(text);
  if (text.charCodeAt(at) === SLASH) {
    const end = text.indexOf(",", at);
    if (end < 0) return false;
    at = end + 1;
  }
  const unit = text.charCodeAt(at);
  return unit >= ZERO && unit <= NINE;
}

function afterAttachments(text: string): number {
  return attachments(text) > 0 ? text.indexOf("-") + 1 : 1;
}

function bytes(data: unknown): Buffer {
  if (Buffer.isBuffer(data)) return data;
  if (ArrayBuffer.isView(data)) return Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  if (data instanceof ArrayBuffer) return Buffer.from(data);
  throw new TypeError(`${Object.prototype.toString.call(data)} cannot be sent`);
}
