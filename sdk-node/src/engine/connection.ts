// One client, as socket.io's server sees it: the counterpart of an Engine.IO socket, without a transport of its own.
// Packets travel on the link; the service does heartbeats, upgrades and limits.

import { EventEmitter } from "node:events";

import { callHandler, throwUncaught } from "../server/uncaught.js";
import type { AnySocket } from "../server/internals.js";
import type { ClientLink } from "../link/types.js";
import type { Uplink } from "../uplink.js";
import { type FromApp, type Save, Type, VOLATILE } from "../wire/frames.js";
import { HandlerSpan, OpenSpans, type TraceContext } from "../tracing.js";
import { ackKey, attachments, decodeMessage, disconnectPacket, encodeMessage, isAck, isDisconnect, isEventWithAck, joinPackets, namespaceOf, splitPackets, wantsAck } from "./payload.js";
import type { ClientRequest } from "./request.js";
import { Moving } from "./moving.js";
import { askForSession, type Restoration, type Restorations } from "./restoration.js";

interface WriteOptions {
  readonly volatile?: boolean;
  readonly compress?: boolean;
}

/** Packets that wait, and last the callback that ends the connection. */
type Deferred = (string | (() => void))[];

/** The parts of the engine that a connection uses. */
interface ConnectionServer {
  /** For frames to all nodes. */
  readonly uplink: Pick<Uplink, "sendVolatile">;
  readonly restorations: Restorations;
}

/** The clients of the link that the connection belongs to. */
interface Siblings {
  readonly link: ClientLink;
  /** True while their session is lost. */
  readonly losing: boolean;
  forget(connection: Connection): void;
  /** Sends the data that the service keeps of sockets that may come back, then packets about the others. */
  save(frames: Iterable<() => Save>, packets: readonly FromApp[]): void;
}

export class Connection extends EventEmitter {
  /** The revision of Engine.IO. */
  readonly protocol = 4;
  readonly remoteAddress: string;
  /** The link to the client's node. */
  readonly link: ClientLink;
  /** The client's current transport. It is always writable: packets that cannot be sent at once wait in the link. */
  transport: { readonly name: string; readonly writable: true };
  /** Natively the packets that wait for the transport; always empty here. */
  readonly writeBuffer: readonly never[] = [];
  upgraded = false;
  readonly upgrading = false;
  readyState: "open" | "closing" | "closed" = "open";
  /** The client's sockets by namespace; the adapters maintain it. */
  readonly sockets = new Map<string, AnySocket>();

  /** The trace that the next packet belongs to. */
  #trace: TraceContext | undefined;
  /** Undefined until the first event of a trace that wants an ack. */
  #spans: OpenSpans | undefined;
  /** A packet whose attachments are still being written; undefined at other times. */
  #parts: string[] | undefined;
  #missingAttachments = 0;
  /** Packets and calls that wait while socket.io handles a DISCONNECT; undefined at other times. */
  #deferred: Deferred | undefined;
  #drainScheduled = false;
  /** Undefined unless a socket of an earlier connection goes on with this one. */
  #restorations: Map<string, Restoration> | undefined;
  /** Make the frames with the data that the service keeps of the sockets, after their "disconnect" listeners; by
   * namespace. Undefined without such sockets. */
  #saves: Map<string, () => Save> | undefined;
  #pids: string[] | undefined;
  #endedByService = false;
  /** Events of the client that want an answer and have got none. */
  unanswered = 0;
  /** Undefined unless the client's app server changes. */
  #moving: Moving | undefined;
  #accept: (() => void) | undefined;

  /** `client` is the number of the client on its link, `id` the Engine.IO session id. */
  constructor(
    readonly server: ConnectionServer,
    private readonly siblings: Siblings,
    readonly client: number,
    readonly id: string,
    readonly request: ClientRequest,
  ) {
    super();
    this.link = siblings.link;
    this.remoteAddress = request.socket.remoteAddress ?? "";
    this.transport = { name: request._query["transport"] ?? "websocket", writable: true };
  }

  /** Sockets of earlier connections that go on with this one and are not connected yet, by namespace. */
  get restorations(): Map<string, Restoration> {
    return (this.#restorations ??= new Map());
  }

  /** Handles packets of the client. */
  receive(payload: string): void {
    const trace = this.#trace;
    if (trace !== undefined) {
      this.#trace = undefined;
      this.#receiveTraced(payload, trace);
      return;
    }
    for (const packet of splitPackets(payload)) {
      if (this.#deferred) this.#deferred.push(packet);
      else this.#handle(packet);
    }
  }

  /** The next packet is an event of a trace. */
  trace(trace: TraceContext): void {
    this.#trace = trace;
  }

  #receiveTraced(payload: string, trace: TraceContext): void {
    const packets = splitPackets(payload);
    const text = (packets[0] ?? "").slice(1);
    const span = new HandlerSpan(trace, text, () => {
      // The link may have ended meanwhile, and with it the service's span.
      if (this.readyState !== "closed") this.link.send({ type: Type.Traced, ref: trace.ref, failed: false });
    });
    const handle = (): void => {
      span.run(() => {
        for (const packet of packets) this.#handle(packet);
      });
      if (wantsAck(text) && this.readyState !== "closed") (this.#spans ??= new OpenSpans()).add(ackKey(text), span);
      // socket.io runs the listeners in the next ticks.
      else setImmediate(() => span.end());
    };
    if (this.#deferred) this.#deferred.push(handle);
    else handle();
  }

  /** Handles the CONNECT packet of a namespace, with which an earlier socket goes on. */
  restore(namespace: string, packet: string, restoration: Restoration): void {
    const begin = (): void => {
      const { pid, text } = askForSession(packet.slice(1));
      (this.#pids ??= []).push(pid);
      this.restorations.set(namespace, restoration);
      this.server.restorations.set(pid, restoration);
      this.#deliver(text);
    };
    if (this.#deferred) this.#deferred.push(begin);
    else begin();
  }

  #handle(packet: string): void {
    const data = decodeMessage(packet);
    if (data === undefined) return;
    if (typeof data === "string" && isDisconnect(data)) this.#deferDisconnect(data);
    else this.#deliver(data);
  }

  #deliver(data: string | Buffer): void {
    if (this.readyState !== "open") return;
    if (typeof data === "string" && isEventWithAck(data)) this.unanswered += 1;
    try {
      if (this.listenerCount("packet") > 0) this.emit("packet", { type: "message", data });
      this.emit("data", data);
      this.emit("message", data);
    } catch (error) {
      // The exception of an app's listener. The packet's attachments, and the packets behind it, must still be
      // handled.
      throwUncaught(error);
    }
  }

  /** The client now uses the transport of this name. */
  upgrade(name: string): void {
    if (this.readyState !== "open") return;
    this.transport = { name, writable: true };
    this.upgraded = true;
    callHandler(() => this.emit("upgrade", this.transport));
  }

  /** Handles a DISCONNECT in a turn of its own. socket.io takes some ticks for each packet: events just before the
   * DISCONNECT would find the socket gone, and a CONNECT just after it would find the socket still there and close
   * the client. Natively, network latency separates them; here all may come in one batch. */
  #deferDisconnect(data: string): void {
    this.#deferred = [];
    setImmediate(() => {
      this.#deliver(data);
      process.nextTick(() => this.#handleDeferred());
    });
  }

  #handleDeferred(): void {
    const deferred = this.#deferred ?? [];
    this.#deferred = undefined;
    for (const next of deferred) {
      if (this.#deferred !== undefined) (this.#deferred as Deferred).push(next);
      else if (typeof next === "string") this.#handle(next);
      else next();
    }
  }

  /** Like `end`, but after socket.io has handled the packets before. */
  endSoon(reason: string, description: unknown): void {
    const endLater = (): void => void setImmediate(() => {
      this.#endedByService = true;
      this.end(reason, description);
    });
    if (this.#deferred) this.#deferred.push(endLater);
    else endLater();
  }

  /** Alias of `write`. */
  send(data: unknown, options?: WriteOptions, callback?: () => void): this {
    return this.write(data, options, callback);
  }

  /** Sends one message to the client. socket.io writes a packet and its attachments one after the other; they leave as
   * one frame. */
  write(data: unknown, options?: WriteOptions, callback?: () => void): this {
    if (this.readyState !== "open") return this;
    if (typeof data === "string" && isAck(data)) this.#answered(data);
    if (this.#moving?.withholds(data)) return this;
    if (this.listenerCount("packetCreate") > 0) this.emit("packetCreate", { type: "message", data, options });
    const packet = encodeMessage(data);
    if (this.#parts !== undefined) {
      this.#parts.push(packet);
      this.#missingAttachments -= 1;
      if (this.#missingAttachments === 0) this.#sendParts(this.#parts, options);
    } else if (typeof data === "string" && (this.#missingAttachments = attachments(data)) > 0) {
      this.#parts = [packet];
    } else if (options?.volatile) {
      this.#sendVolatile(data, packet);
    } else {
      this.link.send({ type: Type.Packet, client: this.client, payload: packet });
    }
    if (callback) process.nextTick(callback);
    if (this.listenerCount("drain") > 0) this.#scheduleDrain();
    return this;
  }

  #sendParts(parts: readonly string[], options: WriteOptions | undefined): void {
    this.#parts = undefined;
    const payload = joinPackets(parts);
    if (options?.volatile) this.#sendVolatile(parts[0]?.slice(1), payload);
    else this.link.send({ type: Type.Packet, client: this.client, payload });
  }

  /** Sends a volatile packet. Packet frames have no flags, so it goes as an emit to the socket's private room. Other
   * sockets may be in that room, so a packet that asks for an ack must not go this way: it goes as a Packet, which is
   * not dropped for a slow client. */
  #sendVolatile(text: unknown, payload: string): void {
    if (typeof text === "string" && wantsAck(text)) {
      this.link.sendVolatile({ type: Type.Packet, client: this.client, payload });
      return;
    }
    const namespace = typeof text === "string" ? namespaceOf(text) : "/";
    const socket = this.sockets.get(namespace);
    if (!socket) return;
    const to = { namespace, rooms: [socket.id], excluded: [] };
    this.server.uplink.sendVolatile({ type: Type.Emit, ref: 0, to, flags: VOLATILE, payload });
  }

  /** Emits "drain" once per turn of the event loop. */
  #scheduleDrain(): void {
    if (this.#drainScheduled) return;
    this.#drainScheduled = true;
    process.nextTick(() => {
      this.#drainScheduled = false;
      if (this.readyState === "open") this.emit("drain");
    });
  }

  /** Closes the client's connection. */
  close(): void {
    if (this.readyState !== "open" || this.#moving?.stage === "released") return;
    // Before the answer to the offer, this would mean that the client is not wanted here.
    this.adopted();
    this.readyState = "closing";
    this.link.send({ type: Type.Close, client: this.client });
    this.end("forced close");
  }

  /** The connection is gone. `reason` is one of Socket.IO's reasons. */
  end(reason: string, description?: unknown): void {
    if (this.readyState === "closed") return;
    this.readyState = "closed";
    this.siblings.forget(this);
    for (const pid of this.#pids ?? []) this.server.restorations.delete(pid);
    this.#spans?.end();
    const namespaces = [...this.sockets.keys()];
    try {
      this.emit("close", reason, description);
    } finally {
      const saves = this.#saves;
      if (saves !== undefined && (this.#endedByService || this.siblings.losing)) this.siblings.save(saves.values(), this.#dismissals(saves, namespaces));
    }
  }

  /** The packets that end sockets which a "disconnect" listener of another namespace has disconnected. Their client
   * must not come back to them. */
  #dismissals(saves: ReadonlyMap<string, unknown>, namespaces: readonly string[]): FromApp[] {
    const ended = namespaces.filter((namespace) => !saves.has(namespace));
    return ended.map((namespace) => ({ type: Type.Packet, client: this.client, payload: disconnectPacket(namespace) }));
  }

  // --- hand-over: see Moving ---------------------------------------------------------------------

  #answered(ack: string): void {
    if (this.#spans !== undefined) {
      const span = this.#spans.take(ackKey(ack));
      // When the ack has been sent with its attachments.
      if (span) process.nextTick(() => span.end());
    }
    this.unanswered -= 1;
    if (this.unanswered <= 0) this.#moving?.idle();
  }

  /** The client's sockets come from another app server. `transport` is the name of its present one; `accept` answers
   * the offer. */
  adopt(transport: string, accept: () => void): void {
    this.#accept = accept;
    this.transport = { name: transport, writable: true };
    this.upgraded = transport === "websocket";
    this.#moving = new Moving("adopting");
  }

  /** All of its sockets are made, or the app closes it already. */
  adopted(): void {
    const accept = this.#accept;
    if (accept === undefined || this.readyState !== "open") return;
    this.#accept = undefined;
    this.#moving = undefined;
    accept();
  }

  /** Calls `done` when the client's handlers have ended. */
  freeze(done: () => void): void {
    const moving = (this.#moving = new Moving("freezing"));
    const begin = (): void => void setImmediate(() => {
      moving.whenIdle(this.unanswered > 0, () => {
        if (this.#moving !== moving || this.readyState !== "open") return;
        moving.stage = "frozen";
        done();
      });
    });
    if (this.#deferred) this.#deferred.push(begin);
    else begin();
  }

  /** Another app server serves the client. */
  release(): void {
    this.#moving = new Moving("released");
  }

  /** No other app server has taken the client. */
  resume(): void {
    const moving = this.#moving;
    this.#moving = undefined;
    for (const data of moving?.withheld ?? []) this.write(data);
  }

  /** The socket in this namespace may come back. `frame` makes the frame with the data that the service keeps of it. */
  keep(namespace: string, frame: () => Save): void {
    (this.#saves ??= new Map<string, () => Save>()).set(namespace, frame);
  }
}
