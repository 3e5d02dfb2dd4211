// Dispatches the frames of one link: frames about clients to the engine, frames about rooms and events to the adapters.

import type { MoorageAdapter } from "./adapter/adapter.js";
import { factsOf } from "./adapter/facts.js";
import { receiveServerEvent } from "./adapter/server-events.js";
import { Clients } from "./engine/clients.js";
import type { Engine } from "./engine/engine.js";
import { adopt, forget, stateOf } from "./server/handover.js";
import { type AnyServer, type AnySocket, insideSocket } from "./server/internals.js";
import { Restoration } from "./engine/restoration.js";
import { rebind } from "./server/rebind.js";
import type { ClientLink, LinkHandler } from "./link/types.js";
import type { Report } from "./uplink.js";
import { type Adopt, type Failed, Type } from "./wire/frames.js";
import { MoorageError } from "./wire/errors.js";

/** Shared by the dispatchers of one server. */
export interface DispatchContext {
  readonly io: AnyServer;
  readonly engine: Engine;
  /** By namespace. */
  readonly adapters: ReadonlyMap<string, MoorageAdapter>;
  readonly report: Report;
  readonly onDrain: (seconds: number) => void;
}

export class Dispatcher implements LinkHandler {
  readonly #clients: Clients;

  constructor(
    private readonly link: ClientLink,
    private readonly context: DispatchContext,
  ) {
    this.#clients = new Clients(context.engine, link);
  }

  open(client: number, id: string, user: string | null, handshake: string): void {
    this.#clients.open(client, id, user, handshake);
  }

  packet(client: number, payload: string): void {
    (this.#clients.get(client) ?? this.#clients.released(client))?.receive(payload);
  }

  closed(client: number, number: number, reason: string, cause: string): void {
    this.#clients.closed(client, cause, { number, reason });
  }

  left(client: number, namespace: string): void {
    const socket = this.#clients.get(client)?.sockets.get(namespace);
    if (socket) adapterOf(socket).removed(socket);
  }

  upgraded(client: number, transport: string): void {
    this.#clients.get(client)?.upgrade(transport);
  }

  moved(client: number, namespace: string, joined: boolean, rooms: readonly string[]): void {
    const connection = this.#clients.get(client);
    const socket = connection?.sockets.get(namespace);
    if (socket) return adapterOf(socket).roomsChanged(socket, joined, rooms);
    const restoration = connection?.restorations.get(namespace);
    if (restoration) this.context.adapters.get(namespace)?.restorationMoved(restoration, joined, rooms);
  }

  recover(client: number, namespace: string, packet: string, sid: string, rooms: readonly string[], data: string): void {
    this.#clients.get(client)?.restore(namespace, packet, new Restoration(sid, rooms, dataIn(data)));
  }

  parked(): void {
    // The client's sockets live on, and the service keeps what is sent to it.
  }

  back(client: number, namespace: string, sid: string, was: number): void {
    const from = this.#clients.get(was);
    const to = this.#clients.get(client);
    const socket = from?.sockets.get(namespace);
    if (from !== undefined && to !== undefined && socket?.id === sid) rebind(socket, from, to);
  }

  freeze(client: number): void {
    const connection = this.#clients.get(client);
    connection?.freeze(() => this.link.send(stateOf(connection, this.context.report)));
  }

  adopt({ client, id, user, handshake, transport, sockets }: Adopt): void {
    const { io, engine } = this.context;
    this.#clients.adopt(client, id, user, handshake, transport, (connection) => adopt(io, connection, sockets, engine.restorations));
  }

  released(client: number): void {
    const connection = this.#clients.get(client);
    if (connection === undefined) return;
    forget(connection);
    this.#clients.release(connection);
  }

  resume(client: number): void {
    this.#clients.get(client)?.resume();
  }

  trace(client: number, ref: number, parent: string, state: string): void {
    this.#clients.get(client)?.trace({ ref, parent, state });
  }

  query(ref: number, namespace: string, sockets: readonly string[]): void {
    const known = this.context.adapters.get(namespace)?.nsp.sockets;
    this.link.send({ type: Type.Facts, ref, chunks: factsOf(known ?? new Map(), sockets, this.context.report) });
  }

  told(ref: number, _sender: string, namespace: string, payload: string): void {
    const adapter = this.context.adapters.get(namespace);
    if (adapter) receiveServerEvent(this.link, adapter.nsp, ref, payload);
    // Answered at once, because the sender waits for an answer. Natively a server without the namespace is not asked
    // at all.
    else if (ref !== 0) this.link.send({ type: Type.Reply, ref, payload: "" });
  }

  drain(seconds: number): void {
    this.context.onDrain(seconds);
  }

  failed({ number, reason, message }: Failed): void {
    this.context.report(new MoorageError(reason, message, { number }));
  }
}

/** The adapter that the socket belongs to. The namespace's current one may differ: a dynamic namespace may have been
 * closed, and opened again, in the meantime. */
const adapterOf = (socket: AnySocket): MoorageAdapter => insideSocket(socket).adapter as MoorageAdapter;

const METHODS = ["open", "packet", "closed", "left", "upgraded", "moved", "recover", "parked", "back", "freeze", "adopt", "released", "resume", "trace", "query", "told", "drain", "failed"] as const;

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

/** The data of a socket, as another app server has saved it. */
function dataIn(text: string): unknown {
  try {
    return text === "" ? {} : JSON.parse(text);
  } catch {
    return {};
  }
}
