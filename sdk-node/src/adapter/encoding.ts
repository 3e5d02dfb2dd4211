// Socket.IO packets between objects and the text that the link carries.

import createDebug from "debug";
import { Decoder, Encoder, type Packet, PacketType } from "socket.io-parser";

import { decodeMessage, encodeMessages, splitPackets } from "../engine/payload.js";
import { explain } from "./unserialisable.js";

const debug = createDebug("moorage:packet");

interface Encodes {
  encode(packet: Packet): unknown[];
}

/** The text of a packet and its attachments. */
export function encodePacket(encoder: Encodes, packet: Packet): string {
  return encodeMessages(encoder.encode(packet));
}

/** Makes an encoder name the path to what it cannot serialise. The encoder itself is changed: each of
 * socket.io's clients has a reference to it. */
export function namePaths(encoder: Encodes): void {
  const encode = encoder.encode.bind(encoder);
  encoder.encode = (packet) => {
    try {
      const parts = encode(packet);
      // A Blob passes the encoder, but cannot be read here and now.
      if (parts.length > 1 && !parts.every(isSendable)) throw new TypeError("an attachment cannot be sent");
      return parts;
    } catch (error) {
      throw explain(error, packet.data);
    }
  };
}

function isSendable(part: unknown): boolean {
  return typeof part === "string" || ArrayBuffer.isView(part) || part instanceof ArrayBuffer;
}

/** Reads whole packets, attachments included. */
export class PacketReader {
  #decoder: Decoder;
  #decoded: Packet | undefined;

  constructor(private readonly create: () => Decoder) {
    this.#decoder = this.#fresh();
  }

  #fresh(): Decoder {
    const decoder = this.create();
    decoder.on("decoded", (packet: Packet) => (this.#decoded = packet));
    return decoder;
  }

  /** Raises `Error` for what is no Socket.IO packet. */
  read(payload: string): Packet {
    this.#decoded = undefined;
    try {
      for (const packet of splitPackets(payload)) {
        if (this.#decoded) throw new Error("more than one packet");
        this.#decoder.add(decodeMessage(packet));
      }
      if (!this.#decoded) throw new Error("an incomplete packet");
    } catch (error) {
      // It may wait for attachments that will not come.
      this.#decoder = this.#fresh();
      throw error;
    }
    return this.#decoded;
  }

  /** The arguments of an ACK, or an event's name and arguments; none where the packet has no data, as socket.io
   * itself takes it. Undefined for anything else: what others wrote must not throw in this process. */
  arguments(type: PacketType.ACK | PacketType.EVENT, payload: string): unknown[] | undefined {
    try {
      const packet = this.read(payload);
      return packet.type === type ? ((packet.data as unknown[] | undefined) ?? []) : undefined;
    } catch (error) {
      debug("unreadable: %O", error);
      return undefined;
    }
  }
}

/** Between app servers the packets are always the standard ones, whatever `parser` the clients are
 * spoken to with: the other one may be written in another language. */
export const standard = {
  encoder: namedEncoder(),
  decoder: (): Decoder => new Decoder({ maxAttachments: Infinity } as object as (key: string, value: unknown) => unknown),
};

function namedEncoder(): Encoder {
  const encoder = new Encoder();
  namePaths(encoder);
  return encoder;
}

export { PacketType };
