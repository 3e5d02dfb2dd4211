// Where the frames of the service go: clients to the engine, rooms and events to the adapters.

import type { MoorageAdapter } from "./adapter/adapter.js";
import { facts } from "./adapter/facts.js";
import { told } from "./adapter/server-events.js";
import type { Engine } from "./engine/engine.js";
import { type AnySocket, insideSocket } from "./internals.js";
import type { LinkHandler } from "./link/types.js";
import type { Report, Uplink } from "./uplink.js";
import { type Failed, Type } from "./wire/frames.js";
import { MoorageError } from "./wire/errors.js";

export class Dispatch implements LinkHandler {
  /** By namespace. */
  readonly adapters = new Map<string, MoorageAdapter>();

  constructor(
    private readonly uplink: Uplink,
    private readonly engine: Engine,
    private readonly report: Report,
    private readonly draining: (seconds: number) => void,
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
    if (socket) adapterOf(socket).left(socket);
  }

  upgraded(client: number, transport: string): void {
    this.engine.connection(client)?.upgrade(transport);
  }

  moved(client: number, namespace: string, joined: boolean, rooms: readonly string[]): void {
    const socket = this.engine.connection(client)?.sockets.get(namespace);
    if (socket) adapterOf(socket).moved(socket, joined, rooms);
  }

  query(ref: number, namespace: string, sockets: readonly string[]): void {
    const known = this.adapters.get(namespace)?.nsp.sockets;
    this.uplink.send({ type: Type.Facts, ref, chunks: facts(known ?? new Map(), sockets, this.report) });
  }

  told(ref: number, _sender: string, namespace: string, payload: string): void {
    const adapter = this.adapters.get(namespace);
    if (adapter) told(this.uplink, adapter.nsp, ref, payload);
    // Without the namespace it would not be asked natively: nobody is to wait for it.
    else if (ref !== 0) this.uplink.send({ type: Type.Reply, ref, payload: "" });
  }

  drain(seconds: number): void {
    this.draining(seconds);
  }

  failed({ number, reason, message }: Failed): void {
    this.report(new MoorageError(reason, message, { number }));
  }
}

/** The socket's own: a dynamic namespace that was closed meanwhile has none, or a successor's. */
const adapterOf = (socket: AnySocket): MoorageAdapter => insideSocket(socket).adapter as MoorageAdapter;

const METHODS = ["open", "packet", "closed", "left", "upgraded", "moved", "query", "told", "drain", "failed"] as const;

/** Keeps what comes before there is somebody to take it: the first clients may come in the same breath as
 * the service's hello. */
export class Gate {
  readonly #early: ((handler: LinkHandler) => void)[] = [];

  readonly handler = Object.fromEntries(
    METHODS.map((name) => [
      name,
      (...args: unknown[]) => this.#early.push((handler) => (handler[name] as (...args: unknown[]) => void)(...args)),
    ]),
  ) as unknown as LinkHandler;

  /** To `handler`; what that throws, as of the link's own calls, ends nothing and goes to `report`. */
  open(handler: LinkHandler, report: Report): void {
    for (const call of this.#early.splice(0))
      try {
        call(handler);
      } catch (error) {
        report(error as Error);
      }
  }
}
