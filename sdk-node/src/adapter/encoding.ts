// Conversion between Socket.IO packets and the text that the link carries.

import createDebug from "debug";
import { Decoder, Encoder, type Packet, PacketType } from "socket.io-parser";

import { decodeMessage, encodeMessages, splitPackets } from "../engine/payload.js";
import { explain } from "./unserialisable.js";

const debug = createDebug("moorage:packet");

interface PacketEncoder {
  encode(packet: Packet): unknown[];
}

/** The text of a packet and its attachments. */
export function encodePacket(encoder: PacketEncoder, packet: Packet): string {
  return encodeMessages(encoder.encode(packet));
}

/** Makes an encoder name the path to a value that it cannot serialise. It changes the encoder itself, because each of
 * socket.io's clients has a reference to it. */
export function namePaths(encoder: PacketEncoder): void {
  const encode = encoder.encode.bind(encoder);
  encoder.encode = (packet) => {
    try {
      const parts = encode(packet);
      // A Blob passes the encoder, but cannot be read synchronously.
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

/** Decodes complete packets, including attachments. */
export class PacketReader {
  #decoder: Decoder;
  #decoded: Packet | undefined;

  constructor(private readonly create: () => Decoder) {
    this.#decoder = this.#newDecoder();
  }

  #newDecoder(): Decoder {
    const decoder = this.create();
    decoder.on("decoded", (packet: Packet) => (this.#decoded = packet));
    return decoder;
  }

  /** Raises `Error` for anything but one Socket.IO packet. */
  read(payload: string): Packet {
    this.#decoded = undefined;
    try {
      for (const packet of splitPackets(payload)) {
        if (this.#decoded) throw new Error("more than one packet");
        this.#decoder.add(decodeMessage(packet));
      }
      if (!this.#decoded) throw new Error("an incomplete packet");
    } catch (error) {
      // The old decoder may wait for attachments that will not come.
      this.#decoder = this.#newDecoder();
      throw error;
    }
    return this.#decoded;
  }

  /** Returns the arguments of an ACK, or an event's name and arguments; an empty list if the packet has no data, as
   * socket.io does. Returns undefined for anything else: packets of other processes must not cause exceptions in this
   * one. */
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

/** App servers always exchange standard packets, even if a custom `parser` is used with the clients: the other app
 * server may be written in another language. */
export const standard = {
  encoder: standardEncoder(),
  decoder: (): Decoder => new Decoder({ maxAttachments: Infinity } as object as (key: string, value: unknown) => unknown),
};

function standardEncoder(): Encoder {
  const encoder = new Encoder();
  namePaths(encoder);
  return encoder;
}

export { PacketType };
