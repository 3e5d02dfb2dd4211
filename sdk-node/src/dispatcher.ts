// Dispatches the frames of the service: frames about clients to the engine, frames about rooms and events to the
// adapters.

import type { MoorageAdapter } from "./adapter/adapter.js";
import { factsOf } from "./adapter/facts.js";
import { receiveServerEvent } from "./adapter/server-events.js";
import type { Engine } from "./engine/engine.js";
import { type AnySocket, insideSocket } from "./internals.js";
import type { LinkHandler } from "./link/types.js";
import type { Report, Uplink } from "./uplink.js";
import { type Failed, Type } from "./wire/frames.js";
import { MoorageError } from "./wire/errors.js";

export class Dispatcher implements LinkHandler {
  /** By namespace. */
  readonly adapters = new Map<string, MoorageAdapter>();

  constructor(
    private readonly uplink: Uplink,
    private readonly engine: Engine,
    private readonly report: Report,
    private readonly onDrain: (seconds: number) => void,
  ) {}

  open(client: number, id: string, user: string | null, handshake: string): void {
    this.engine.open(client, id, user, handshake);
  }

  packet(client: number, payload: string): void {
    this.engine.connection(client)?.receive(payload);
  }

  closed(client: number, number: number, reason: string, cause: string): void {
    this.engine.closed(client, cause, { number, reason });
  }

  left(client: number, namespace: string): void {
    const socket = this.engine.connection(client)?.sockets.get(namespace);
    if (socket) adapterOf(socket).removed(socket);
  }

  upgraded(client: number, transport: string): void {
    this.engine.connection(client)?.upgrade(transport);
  }

  moved(client: number, namespace: string, joined: boolean, rooms: readonly string[]): void {
    const socket = this.engine.connection(client)?.sockets.get(namespace);
    if (socket) adapterOf(socket).roomsChanged(socket, joined, rooms);
  }

  query(ref: number, namespace: string, sockets: readonly string[]): void {
    const known = this.adapters.get(namespace)?.nsp.sockets;
    this.uplink.send({ type: Type.Facts, ref, chunks: factsOf(known ?? new Map(), sockets, this.report) });
  }

  told(ref: number, _sender: string, namespace: string, payload: string): void {
    const adapter = this.adapters.get(namespace);
    if (adapter) receiveServerEvent(this.uplink, adapter.nsp, ref, payload);
    // Answered at once, because the sender waits for an answer. Natively a server without the namespace is not asked
    // at all.
    else if (ref !== 0) this.uplink.send({ type: Type.Reply, ref, payload: "" });
  }

  drain(seconds: number): void {
    this.onDrain(seconds);
  }

  failed({ number, reason, message }: Failed): void {
    this.report(new MoorageError(reason, message, { number }));
  }
}

/** The adapter that the socket belongs to. The namespace's current one may differ: a dynamic namespace may have been
 * closed, and opened again, in the meantime. */
const adapterOf = (socket: AnySocket): MoorageAdapter => insideSocket(socket).adapter as MoorageAdapter;

const METHODS = ["open", "packet", "closed", "left", "upgraded", "moved", "query", "told", "drain", "failed"] as const;

/** Buffers frames until a handler is set: the first clients may arrive together with the service's hello. */
export class FrameBuffer {
  readonly #calls: ((handler: LinkHandler) => void)[] = [];

  readonly handler = Object.fromEntries(
    METHODS.map((name) => [
      name,
      (...args: unknown[]) => this.#calls.push((handler) => (handler[name] as (...args: unknown[]) => void)(...args)),
    ]),
  ) as unknown as LinkHandler;

  /** Passes the buffered calls to `handler`. An exception goes to `report` and does not stop the other calls, as in
   * the link itself. */
  release(handler: LinkHandler, report: Report): void {
    for (const call of this.#calls.splice(0))
      try {
        call(handler);
      } catch (error) {
        report(error as Error);
      }
  }
}
