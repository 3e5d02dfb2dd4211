// The adapter of one namespace. socket.io's in-memory adapter below it keeps the view of own sockets; all
// that reaches further is a frame, in the order of the calls.

import { Adapter, type BroadcastOptions } from "socket.io-adapter";
import { type Packet, PacketType } from "socket.io-parser";

import { apart } from "../apart.js";
import { Connection } from "../engine/connection.js";
import type { ClientRequest } from "../engine/request.js";
import { type AnyNamespace, type AnySocket, insideNamespace, insideServer, insideSocket } from "../internals.js";
import { milliseconds } from "../quantities.js";
import type { Report, Uplink } from "../uplink.js";
import { type Done, type FromApp, type Part, type Servers, type To, Type, VOLATILE } from "../wire/frames.js";
import { encodePacket, PacketReader } from "./encoding.js";
import { Fetching } from "./fetching.js";
import { Membership } from "./membership.js";
import { Outgoing } from "./outgoing.js";
import { dateText } from "./remote.js";
import { flagsOf, names, selection } from "./selection.js";
import { tell, tellNobody } from "./server-events.js";

/** What the adapters of one server share. */
export interface Surroundings {
  readonly uplink: Uplink;
  readonly report: Report;
  /** By namespace. */
  readonly adapters: Map<string, MoorageAdapter>;
  /** Milliseconds that other app servers get to answer. */
  readonly requestsTimeout: number;
  /** True once the server was closed and the link is gone. Then this adapter is socket.io's in-memory one without
   * sockets: as natively, emits, joins and disconnects do nothing. */
  closed(): boolean;
}

export class MoorageAdapter extends Adapter {
  declare readonly nsp: AnyNamespace;
  readonly #uplink: Uplink;
  readonly #membership = new Membership();
  readonly #outgoing = new Outgoing();
  readonly #reader: PacketReader;
  /** Asked for by an emit with acks, which counts servers to know when all have said how many clients
   * they have; here one answer stands for all. */
  #countsOne = false;

  constructor(
    namespace: AnyNamespace,
    private readonly around: Surroundings,
  ) {
    super(namespace);
    this.#uplink = around.uplink;
    const { _parser } = insideServer(namespace.server);
    this.#reader = new PacketReader(() => new _parser.Decoder());
    around.adapters.set(namespace.name, this);
    takeOver(namespace.adapter, this);
  }

  override close(): void {
    const { adapters } = this.around;
    if (adapters.get(this.nsp.name) === this) adapters.delete(this.nsp.name);
  }

  // --- emits -------------------------------------------------------------------------------------

  override broadcast(packet: Packet, options: BroadcastOptions): void {
    if (this.around.closed()) return;
    packet.nsp = this.nsp.name;
    const payload = encodePacket(insideServer(this.nsp.server).encoder, packet);
    this.#outgoing.notify(packet, (sockets) => this.#among(sockets, options));
    const flags = flagsOf(options);
    const frame: FromApp = { type: Type.Emit, ref: 0, to: selection(this.nsp.name, options), flags, payload };
    if (flags & VOLATILE) this.#uplink.sendVolatile(frame);
    else this.#uplink.send(frame);
  }

  override broadcastWithAck(
    packet: Packet,
    options: BroadcastOptions,
    clientCountCallback: (clientCount: number) => void,
    ack: (...args: any[]) => void,
  ): void {
    if (this.around.closed()) return super.broadcastWithAck(packet, options, clientCountCallback, ack);
    packet.nsp = this.nsp.name;
    const payload = encodePacket(insideServer(this.nsp.server).encoder, packet);
    this.#outgoing.notify(packet, (sockets) => this.#among(sockets, options));
    const to = selection(this.nsp.name, options);
    const timeout = milliseconds(options.flags?.timeout ?? 0);
    const make = (ref: number): FromApp => ({ type: Type.Ask, ref, to, flags: flagsOf(options), timeout, payload });
    const onPart = (part: Part): void => {
      // The last of these calls is the one of the app's own callback.
      if (part.type === Type.Asked) apart(() => clientCountCallback(part.count));
      else if (part.type === Type.Answer) {
        // One that cannot be read is none: the emit ends with its time-out.
        const answer = this.#reader.arguments(PacketType.ACK, part.payload);
        if (answer) apart(() => ack(...answer));
      }
    };
    this.#uplink.request(make, { onPart }).catch(this.around.report);
    this.#countsOne = true;
    // Whoever calls this without asking for the count next must not mislead a later caller.
    queueMicrotask(() => (this.#countsOne = false));
  }

  /** The watching sockets among those that `options` select. */
  *#among(watching: Iterable<AnySocket>, { rooms, except }: BroadcastOptions): Iterable<AnySocket> {
    for (const socket of watching) {
      const own = this.sids.get(socket.id);
      const inAny = (some: Set<string>): boolean => [...some].some((room) => own?.has(room));
      if ((rooms.size === 0 || inAny(rooms)) && !(except && inAny(except))) yield socket;
    }
  }

  // --- rooms of own sockets ------------------------------------------------------------------------

  override addAll(id: string, rooms: Set<string>): Promise<void> | void {
    if (this.#waiting?.has(id)) return super.addAll(id, rooms);
    const socket = this.nsp.sockets.get(id);
    if (!socket) return this.addSockets({ rooms: new Set([id]) }, [...rooms]);
    const isNew = rooms.has(id) && this.#connected(socket);
    const before = this.sids.get(id) ?? NONE;
    // The service makes the private room itself, when it reads the CONNECT answer.
    const others = [...rooms, ...(isNew ? before : NONE)].filter((room) => room !== id);
    const fresh = isNew ? others : others.filter((room) => !before.has(room));
    super.addAll(id, rooms);
    if (others.length > 0) return this.#move(Type.Enter, socket, names(others), names(fresh));
  }

  override del(id: string, room: string): Promise<void> | void {
    if (this.#waiting?.has(id)) return super.del(id, room);
    const socket = this.nsp.sockets.get(id);
    if (!socket) return this.delSockets({ rooms: new Set([id]) }, [room]);
    const was = this.sids.get(id)?.has(room);
    super.del(id, room);
    return this.#move(Type.Exit, socket, names([room]), was ? names([room]) : []);
  }

  /** The socket is gone, as the service knows already: from the packet that ended it, or because it was
   * the service that said so. */
  override delAll(id: string): void {
    const socket = this.nsp.sockets.get(id) ?? this.#waiting?.get(id);
    super.delAll(id);
    if (!socket) return;
    // Natively that does nothing to a socket that is gone; here it would be taken for one of another app server.
    socket.leave = nothing;
    this.#outgoing.forget(socket);
    const sockets = connectionOf(socket)?.sockets;
    if (sockets?.get(this.nsp.name) === socket) sockets.delete(this.nsp.name);
  }

  /** Sockets whose middlewares still run. The service hears of the rooms that they join once they are let in:
   * what goes to a room is not for the eyes of those who may yet be refused. */
  get #waiting(): ReadonlyMap<string, AnySocket> | undefined {
    return insideNamespace(this.nsp)._preConnectSockets;
  }

  /** Has it come just now? */
  #connected(socket: AnySocket): boolean {
    const connection = connectionOf(socket);
    if (!connection) {
      this.around.report(new Error(DIRECT));
      return false;
    }
    if (connection.sockets.get(this.nsp.name) === socket) return false;
    connection.sockets.set(this.nsp.name, socket);
    takeIssued(socket);
    this.#outgoing.watch(socket);
    return true;
  }

  /** All of `rooms`, also those that the view of own sockets has right already: an `io.socketsJoin` or `socketsLeave`
   * of a moment ago is not in it yet, and an earlier join may not be in effect. `changed` there is undone if it fails. */
  #move(
    type: typeof Type.Enter | typeof Type.Exit,
    socket: AnySocket,
    rooms: readonly string[],
    changed: readonly string[],
  ): Promise<void> | void {
    const connection = connectionOf(socket);
    // A middleware may still be at work for a client that is gone; after a lost session its number is another's.
    if (connection?.readyState !== "open") return;
    const { client } = connection;
    const make = (ref: number): FromApp => ({ type, ref, client, namespace: this.nsp.name, rooms });
    const settle = this.#membership.begin(socket.id, rooms);
    const moved = this.#uplink.request(make, { onDone: settle }).then(
      () => settle(),
      (error: Error) => {
        settle();
        this.#apply(socket, type === Type.Exit, changed);
        throw error;
      },
    );
    // Most callers do not wait for it. With the socket its rooms are gone, and nobody misses them.
    moved.catch((error: Error) => this.sids.has(socket.id) && this.around.report(error));
    return moved;
  }

  /** In the view of own sockets only, and only where no newer change is under way. */
  #apply(socket: AnySocket, joined: boolean, rooms: readonly string[]): void {
    if (!this.sids.has(socket.id)) return;
    const settled = this.#membership.settled(socket.id, rooms);
    if (joined) super.addAll(socket.id, new Set(settled));
    else for (const room of settled) super.del(socket.id, room);
  }

  /** Somebody else changed the rooms of an own socket. */
  moved(socket: AnySocket, joined: boolean, rooms: readonly string[]): void {
    this.#apply(socket, joined, rooms);
  }

  /** Somebody else took an own socket out of the namespace. */
  left(socket: AnySocket): void {
    apart(() => insideSocket(socket)._onclose("server namespace disconnect"));
  }

  // --- sockets of all app servers ------------------------------------------------------------------

  override addSockets(options: BroadcastOptions, rooms: string[]): void {
    if (options.flags?.local) super.addSockets(options, rooms);
    else this.#change((ref, to) => ({ type: Type.Join, ref, to, rooms: names(rooms) }), options);
  }

  override delSockets(options: BroadcastOptions, rooms: string[]): void {
    if (options.flags?.local) super.delSockets(options, rooms);
    else this.#change((ref, to) => ({ type: Type.Leave, ref, to, rooms: names(rooms) }), options);
  }

  override disconnectSockets(options: BroadcastOptions, close: boolean): void {
    if (options.flags?.local) super.disconnectSockets(options, close);
    else this.#change((ref, to) => ({ type: Type.Disconnect, ref, to, close }), options);
  }

  #change(make: (ref: number, to: To) => FromApp, options: BroadcastOptions): void {
    if (this.around.closed()) return;
    // Unnumbered: only a failure is answered, and it comes to `report`.
    this.#uplink.send(make(0, selection(this.nsp.name, options)));
  }

  override async fetchSockets(options: BroadcastOptions): Promise<any[]> {
    if (options.flags?.local || this.around.closed()) return super.fetchSockets(options);
    const fetching = new Fetching(this.nsp, this.#uplink.serverId);
    const asked = this.#fetch(options, (part) => fetching.take(part));
    const [done, own] = await Promise.all([asked, this.#own(options)]);
    return fetching.result(own, done.missing);
  }

  /** Known here, as the in-memory adapter knows them natively: half of the answer need not travel. */
  async #own(options: BroadcastOptions): Promise<AnySocket[]> {
    // When the question has left: there is time until its answer comes.
    await new Promise(setImmediate);
    return super.fetchSockets(options) as Promise<AnySocket[]>;
  }

  override sockets(rooms: Set<string>): Promise<Set<string>> {
    if (this.around.closed()) return super.sockets(rooms);
    const ids = new Set<string>();
    const all = async (): Promise<Set<string>> => {
      for (const id of await super.sockets(rooms)) ids.add(id);
      return ids;
    };
    return new Promise((resolve, reject) => {
      this.#fetch({ rooms }, (part) => {
        if (part.type === Type.Sockets) for (const row of part.rows) ids.add(row.id);
        // All ids have come; the app servers' data is not waited for.
        else if (part.type === Type.Asked) resolve(all());
      }).catch(reject);
    });
  }

  #fetch(options: BroadcastOptions, onPart: (part: Part) => void): Promise<Done> {
    const to = selection(this.nsp.name, options);
    const timeout = milliseconds(options.flags?.timeout ?? this.around.requestsTimeout);
    return this.#uplink.request((ref) => ({ type: Type.Fetch, ref, to, timeout, others: true }), { onPart });
  }

  // --- app servers -----------------------------------------------------------------------------------

  override async serverCount(): Promise<number> {
    if (this.around.closed()) return super.serverCount();
    if (this.#countsOne) {
      this.#countsOne = false;
      return 1;
    }
    let rows: Servers["rows"] = [];
    const onPart = (part: Part): void => {
      if (part.type === Type.Servers) rows = part.rows;
    };
    await this.#uplink.request((ref) => ({ type: Type.List, ref }), { onPart });
    return rows.filter((row) => row.up).length;
  }

  override serverSideEmit(packet: unknown[]): void {
    if (this.around.closed()) tellNobody(packet);
    else tell(this.#uplink, this.nsp.name, packet, milliseconds(this.around.requestsTimeout), this.around.report);
  }
}

const NONE: ReadonlySet<string> = new Set();
const nothing = (): void => {};

/** Listeners of "join-room" and its like stay when one adapter takes another's place. */
function takeOver(former: Adapter | undefined, adapter: Adapter): void {
  for (const event of former?.eventNames() ?? [])
    for (const listener of former?.rawListeners(event) ?? []) adapter.on(event, listener as (...args: any[]) => void);
}

/** The service tells other app servers when it got the client's handshake; here it is the same moment. */
function takeIssued(socket: AnySocket): void {
  const { issued } = socket.request as Partial<ClientRequest>;
  if (issued === undefined) return;
  socket.handshake.issued = issued;
  socket.handshake.time = dateText(issued);
}

/** Undefined for a client that came to this process directly. */
function connectionOf(socket: AnySocket): Connection | undefined {
  const connection: unknown = socket.conn;
  return connection instanceof Connection ? connection : undefined;
}

const DIRECT =
  "A client has connected to this process directly instead of to Moorage: emits to rooms and namespaces do not reach it. " +
  "Do not call io.attach() or io.listen() after useMoorage().";
