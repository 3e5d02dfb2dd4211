// One client, as socket.io's server sees it: what an Engine.IO socket is natively, without a transport of
// its own. The packets travel on the link; heartbeats, upgrades and limits are the service's.

import { EventEmitter } from "node:events";

import { apart, throwApart } from "../apart.js";
import type { AnySocket } from "../internals.js";
import type { Uplink } from "../uplink.js";
import { Type, VOLATILE } from "../wire/frames.js";
import { attachments, decodeMessage, encodeMessage, isDisconnect, joinPackets, namespaceOf, splitPackets, wantsAck } from "./payload.js";
import type { ClientRequest } from "./request.js";

export interface WriteOptions {
  readonly volatile?: boolean;
  readonly compress?: boolean;
}

/** Packets, and last the end. */
type Later = (string | (() => void))[];

/** What the connection needs of its engine. */
export interface Keeper {
  readonly uplink: Uplink;
  forget(connection: Connection): void;
}

export class Connection extends EventEmitter {
  /** Of Engine.IO. */
  readonly protocol = 4;
  readonly remoteAddress: string;
  /** The one that the client is on now. Always writable: what cannot be sent at once waits in the link. */
  transport: { readonly name: string; readonly writable: true };
  /** Natively what waits for the transport; here always empty. */
  readonly writeBuffer: readonly never[] = [];
  upgraded = false;
  readonly upgrading = false;
  readyState: "open" | "closing" | "closed" = "open";
  /** The client's sockets by namespace; the adapters keep it. */
  readonly sockets = new Map<string, AnySocket>();

  /** A packet whose attachments are still being written. */
  #parts: string[] = [];
  #missing = 0;
  /** What waits for socket.io to be done with a DISCONNECT. */
  #later: Later | undefined;
  #drains = false;

  /** `client` is the service's number for it, `id` the Engine.IO session id. */
  constructor(
    readonly server: Keeper,
    readonly client: number,
    readonly id: string,
    readonly request: ClientRequest,
  ) {
    super();
    this.remoteAddress = request.socket.remoteAddress ?? "";
    this.transport = { name: request._query["transport"] ?? "websocket", writable: true };
  }

  /** Packets came from the client. */
  receive(payload: string): void {
    for (const packet of splitPackets(payload)) {
      if (this.#later) this.#later.push(packet);
      else this.#take(packet);
    }
  }

  #take(packet: string): void {
    const data = decodeMessage(packet);
    if (data === undefined) return;
    if (typeof data === "string" && isDisconnect(data)) this.#takeApart(data);
    else this.#hand(data);
  }

  #hand(data: string | Buffer): void {
    if (this.readyState !== "open") return;
    try {
      if (this.listenerCount("packet") > 0) this.emit("packet", { type: "message", data });
      this.emit("data", data);
      this.emit("message", data);
    } catch (error) {
      // A listener of the app's; its packet's attachments, and all that waits behind it, must come all the same.
      throwApart(error);
    }
  }

  /** The client has changed to the transport of this name. */
  upgrade(name: string): void {
    if (this.readyState !== "open") return;
    this.transport = { name, writable: true };
    this.upgraded = true;
    apart(() => this.emit("upgrade", this.transport));
  }

  /** A DISCONNECT. socket.io takes some ticks for each packet: events that came just before would find the
   * socket gone, and a CONNECT just after would find it still there, and close the client. Natively a
   * network lies between them; here all may come in one batch. */
  #takeApart(data: string): void {
    this.#later = [];
    setImmediate(() => {
      this.#hand(data);
      process.nextTick(() => this.#resume());
    });
  }

  #resume(): void {
    const later = this.#later ?? [];
    this.#later = undefined;
    for (const next of later) {
      if (this.#later !== undefined) (this.#later as Later).push(next);
      else if (typeof next === "string") this.#take(next);
      else next();
    }
  }

  /** As `end`, once socket.io has handled what came before. */
  endSoon(reason: string, description: unknown): void {
    const soon = (): void => void setImmediate(() => this.end(reason, description));
    if (this.#later) this.#later.push(soon);
    else soon();
  }

  /** Alias of `write`. */
  send(data: unknown, options?: WriteOptions, callback?: () => void): this {
    return this.write(data, options, callback);
  }

  /** One message to the client. A packet and its attachments, written one after the other as socket.io
   * does, leave as one. */
  write(data: unknown, options?: WriteOptions, callback?: () => void): this {
    if (this.readyState !== "open") return this;
    if (this.listenerCount("packetCreate") > 0) this.emit("packetCreate", { type: "message", data, options });
    const packet = encodeMessage(data);
    if (this.#missing > 0) {
      this.#parts.push(packet);
      this.#missing -= 1;
      if (this.#missing === 0) this.#sendParts(options);
    } else if (typeof data === "string" && (this.#missing = attachments(data)) > 0) {
      this.#parts = [packet];
    } else if (options?.volatile) {
      this.#sendVolatile(data, packet);
    } else {
      this.server.uplink.send({ type: Type.Packet, client: this.client, payload: packet });
    }
    if (callback) process.nextTick(callback);
    if (this.listenerCount("drain") > 0) this.#announceDrain();
    return this;
  }

  #sendParts(options: WriteOptions | undefined): void {
    const parts = this.#parts;
    this.#parts = [];
    const payload = joinPackets(parts);
    if (options?.volatile) this.#sendVolatile(parts[0]?.slice(1), payload);
    else this.server.uplink.send({ type: Type.Packet, client: this.client, payload });
  }

  /** A packet to a client has no flags, an emit to the socket's private room has. But others may be in that room,
   * and who is asked for an answer must be one: then a slow client's transport is not what may lose the packet. */
  #sendVolatile(text: unknown, payload: string): void {
    if (typeof text === "string" && wantsAck(text)) {
      this.server.uplink.sendVolatile({ type: Type.Packet, client: this.client, payload });
      return;
    }
    const namespace = typeof text === "string" ? namespaceOf(text) : "/";
    const socket = this.sockets.get(namespace);
    if (!socket) return;
    const to = { namespace, rooms: [socket.id], excluded: [] };
    this.server.uplink.sendVolatile({ type: Type.Emit, ref: 0, to, flags: VOLATILE, payload });
  }

  /** Once for all that one turn of the event loop writes. */
  #announceDrain(): void {
    if (this.#drains) return;
    this.#drains = true;
    process.nextTick(() => {
      this.#drains = false;
      if (this.readyState === "open") this.emit("drain");
    });
  }

  /** End the client's connection. */
  close(): void {
    if (this.readyState !== "open") return;
    this.readyState = "closing";
    this.server.uplink.send({ type: Type.Close, client: this.client });
    this.end("forced close");
  }

  /** The connection is gone; `reason` in Socket.IO's words. */
  end(reason: string, description?: unknown): void {
    if (this.readyState === "closed") return;
    this.readyState = "closed";
    this.server.forget(this);
    this.emit("close", reason, description);
  }
}
