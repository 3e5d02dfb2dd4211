// The adapter of one namespace. It extends socket.io's in-memory adapter, which keeps the rooms of this process' own
// sockets. Operations on other sockets become frames, in the order of the calls.

import { Adapter, type BroadcastOptions } from "socket.io-adapter";
import { type Packet, PacketType } from "socket.io-parser";

import { callHandler } from "../server/uncaught.js";
import { Connection } from "../engine/connection.js";
import type { ClientRequest } from "../engine/request.js";
import type { Restoration, Restorations } from "../engine/restoration.js";
import { type AnyNamespace, type AnySocket, insideNamespace, insideServer, insideSocket } from "../server/internals.js";
import { milliseconds } from "../quantities.js";
import type { Report, Uplink } from "../uplink.js";
import { type Done, type FromApp, type Part, type Servers, type To, Type, VOLATILE } from "../wire/frames.js";
import { DirectEmits } from "./direct-emits.js";
import { encodePacket, PacketReader } from "./encoding.js";
import { FetchCollector } from "./fetching.js";
import { Membership } from "./membership.js";
import { OutgoingListeners } from "./outgoing-listeners.js";
import { dateText } from "./remote.js";
import { saveFrame } from "./saved.js";
import { flagsOf, roomNames, selection } from "./selection.js";
import { sendServerEvent, answerWithoutServers } from "./server-events.js";

/** Shared by the adapters of one server. */
export interface AdapterContext {
  readonly uplink: Uplink;
  readonly report: Report;
  /** By namespace. */
  readonly adapters: Map<string, MoorageAdapter>;
  /** Sockets of earlier connections whose CONNECT socket.io handles. */
  readonly restorations: Restorations;
  /** True if the service recovers sockets whose client comes back. */
  readonly recovers: boolean;
  /** Milliseconds that other app servers have to answer. */
  readonly requestsTimeout: number;
  /** True once the server and the link are closed. Then this adapter acts like socket.io's in-memory one without
   * sockets: emits, joins and disconnects do nothing. */
  closed(): boolean;
}

export class MoorageAdapter extends Adapter {
  declare readonly nsp: AnyNamespace;
  readonly #uplink: Uplink;
  readonly #membership = new Membership();
  readonly #outgoingListeners = new OutgoingListeners();
  readonly #directEmits = new DirectEmits();
  /** Restored sockets that are not connected yet, by id. */
  readonly #restoring = new Map<string, Restoration>();
  readonly #reader: PacketReader;
  /** Makes the next `serverCount` return 1. After an emit with acks, socket.io counts servers to know when all have
   * reported their number of clients; here the service reports for all. */
  #countsAsOne = false;

  constructor(
    namespace: AnyNamespace,
    private readonly context: AdapterContext,
  ) {
    super(namespace);
    this.#uplink = context.uplink;
    const { _parser } = insideServer(namespace.server);
    this.#reader = new PacketReader(() => new _parser.Decoder());
    context.adapters.set(namespace.name, this);
    moveListeners(namespace.adapter, this);
    markFresh(namespace);
  }

  override close(): void {
    const { adapters } = this.context;
    if (adapters.get(this.nsp.name) === this) adapters.delete(this.nsp.name);
  }

  // --- emits -------------------------------------------------------------------------------------

  override broadcast(packet: Packet, options: BroadcastOptions): void {
    const own = this.#directEmits.take();
    if (this.context.closed()) return;
    if (own !== undefined) {
      insideSocket(own).notifyOutgoingListeners(packet);
      insideSocket(own).packet(packet, options.flags);
      return;
    }
    packet.nsp = this.nsp.name;
    const payload = encodePacket(insideServer(this.nsp.server).encoder, packet);
    this.#outgoingListeners.notify(packet, (sockets) => this.#matching(sockets, options));
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
    if (this.context.closed()) return super.broadcastWithAck(packet, options, clientCountCallback, ack);
    packet.nsp = this.nsp.name;
    const payload = encodePacket(insideServer(this.nsp.server).encoder, packet);
    this.#outgoingListeners.notify(packet, (sockets) => this.#matching(sockets, options));
    const to = selection(this.nsp.name, options);
    const timeout = milliseconds(options.flags?.timeout ?? 0);
    const make = (ref: number): FromApp => ({ type: Type.Ask, ref, to, flags: flagsOf(options), timeout, payload });
    const onPart = (part: Part): void => {
      // The app's own callback runs in the last of these calls.
      if (part.type === Type.Asked) callHandler(() => clientCountCallback(part.count));
      else if (part.type === Type.Answer) {
        // An unreadable answer counts as none: the emit then ends with its timeout.
        const answer = this.#reader.arguments(PacketType.ACK, part.payload);
        if (answer) callHandler(() => ack(...answer));
      }
    };
    this.#uplink.request(make, { onPart }).catch(this.context.report);
    this.#countsAsOne = true;
    // The next microtask resets it, in case the caller does not ask for the count.
    queueMicrotask(() => (this.#countsAsOne = false));
  }

  /** The sockets of `listening` that `options` select. */
  *#matching(listening: Iterable<AnySocket>, { rooms, except }: BroadcastOptions): Iterable<AnySocket> {
    for (const socket of listening) {
      const own = this.sids.get(socket.id);
      const inAny = (some: Set<string>): boolean => [...some].some((room) => own?.has(room));
      if ((rooms.size === 0 || inAny(rooms)) && !(except && inAny(except))) yield socket;
    }
  }

  // --- rooms of own sockets ------------------------------------------------------------------------

  override addAll(id: string, rooms: Set<string>): Promise<void> | void {
    const socket = this.nsp.sockets.get(id);
    if (!socket && this.#isConnecting(id)) return super.addAll(id, rooms);
    if (!socket) return this.addSockets({ rooms: new Set([id]) }, [...rooms]);
    const isNew = rooms.has(id) && this.#register(socket);
    // Nearly always: the service adds the socket to its private room itself.
    if (isNew && rooms.size === 1 && !this.sids.has(id) && !this.#restoring.has(id)) return super.addAll(id, rooms);
    const before = this.sids.get(id) ?? NONE;
    const known = isNew ? this.#leaveRestored(socket, before) : NONE;
    // The service adds a socket to its private room itself, when it reads the CONNECT answer.
    const others = [...rooms, ...(isNew ? before : NONE)].filter((room) => room !== id && !known.has(room));
    const fresh = isNew ? others : others.filter((room) => !before.has(room));
    super.addAll(id, rooms);
    if (others.length > 0) return this.#changeRooms(Type.Enter, socket, roomNames(others), roomNames(fresh));
  }

  override del(id: string, room: string): Promise<void> | void {
    const socket = this.nsp.sockets.get(id);
    if (!socket && this.#isConnecting(id)) return super.del(id, room);
    if (!socket) return this.delSockets({ rooms: new Set([id]) }, [room]);
    const was = this.sids.get(id)?.has(room);
    super.del(id, room);
    return this.#changeRooms(Type.Exit, socket, roomNames([room]), was ? roomNames([room]) : []);
  }

  /** The socket is gone. The service knows it already: it has read the packet that closed the socket, or has closed
   * the socket itself. */
  override delAll(id: string): void {
    const socket = this.nsp.sockets.get(id) ?? this.#connecting?.get(id);
    this.#restoring.delete(id);
    super.delAll(id);
    if (!socket) return;
    // Natively, `leave` does nothing on a closed socket. Here it would be taken for another app server's socket.
    socket.leave = nothing;
    this.#outgoingListeners.forget(socket);
    const sockets = connectionOf(socket)?.sockets;
    if (sockets?.get(this.nsp.name) === socket) sockets.delete(this.nsp.name);
  }

  /** Sockets whose middlewares still run. The service gets their rooms when they are accepted: emits to a room must
   * not reach clients that may yet be refused. */
  get #connecting(): ReadonlyMap<string, AnySocket> | undefined {
    return insideNamespace(this.nsp)._preConnectSockets;
  }

  #isConnecting(id: string): boolean {
    return this.#connecting?.has(id) === true || this.#restoring.has(id);
  }

  /** Records a socket that has connected; true when it is called for the first time. */
  #register(socket: AnySocket): boolean {
    const connection = connectionOf(socket);
    if (!connection) {
      this.context.report(new Error(DIRECT_CLIENT));
      return false;
    }
    if (connection.sockets.get(this.nsp.name) === socket) return false;
    connection.sockets.set(this.nsp.name, socket);
    setIssued(socket);
    this.#outgoingListeners.watch(socket);
    if (this.context.recovers) {
      this.#directEmits.watch(socket);
      // The service makes it, and adds it to the CONNECT answer.
      insideSocket(socket).pid = undefined;
    }
    return true;
  }

  /** Sends a change of rooms. `rooms` includes rooms that the local view has right already: it does not contain an
   * `io.socketsJoin` or `socketsLeave` of a moment ago yet, and an earlier join may still fail. `changed` is undone
   * in the local view if the request fails. */
  #changeRooms(
    type: typeof Type.Enter | typeof Type.Exit,
    socket: AnySocket,
    rooms: readonly string[],
    changed: readonly string[],
  ): Promise<void> | void {
    const connection = connectionOf(socket);
    // A middleware may still run for a client that is gone. After a lost session its number may belong to another
    // client.
    if (connection?.readyState !== "open") return;
    const { client } = connection;
    const make = (ref: number): FromApp => ({ type, ref, client, namespace: this.nsp.name, rooms });
    const settle = this.#membership.begin(socket.id, rooms);
    const answered = connection.link.request(make, { onDone: settle }).then(
      () => settle(),
      (error: Error) => {
        settle();
        this.#applyRooms(socket.id, type === Type.Exit, changed);
        throw error;
      },
    );
    // Most callers do not wait for the result. A closed socket has no rooms, so the failure does not matter.
    answered.catch((error: Error) => this.sids.has(socket.id) && this.context.report(error));
    return answered;
  }

  /** Changes the local view, except for rooms with a newer change that is still pending. */
  #applyRooms(id: string, joined: boolean, rooms: readonly string[]): void {
    if (!this.sids.has(id)) return;
    const settled = this.#membership.settled(id, rooms);
    if (joined) super.addAll(id, new Set(settled));
    else for (const room of settled) super.del(id, room);
  }

  /** Another app server or the REST API changed the rooms of an own socket. */
  roomsChanged(socket: AnySocket, joined: boolean, rooms: readonly string[]): void {
    this.#applyRooms(socket.id, joined, rooms);
  }

  /** Another app server or the REST API removed an own socket from the namespace. */
  removed(socket: AnySocket): void {
    callHandler(() => insideSocket(socket)._onclose("server namespace disconnect"));
  }

  // --- connection state recovery ---------------------------------------------------------------------

  /** A socket has lost its connection, and its client may come back. socket.io calls this before the "disconnect"
   * listeners, which may still change the data. */
  override persistSession({ sid, data }: Parameters<Adapter["persistSession"]>[0]): void {
    const socket = this.nsp.sockets.get(sid);
    if (socket) connectionOf(socket)?.keep(this.nsp.name, () => saveFrame(this.nsp.name, sid, data, this.context.report));
  }

  /** The service has found the socket that goes on: see `Connection.restore`. */
  override restoreSession(pid: string): ReturnType<Adapter["restoreSession"]> {
    const restoration = this.context.restorations.get(pid);
    // As socket.io's own adapters answer for an unknown session.
    if (restoration === undefined) return null as unknown as ReturnType<Adapter["restoreSession"]>;
    this.context.restorations.delete(pid);
    const { id, data } = restoration;
    this.#restoring.set(id, restoration);
    // Others may change the rooms before socket.io reads them.
    return Promise.resolve({ sid: id, pid, get rooms() { return [id, ...restoration.rooms]; }, data, missedPackets: [] });
  }

  /** A restored socket has connected with the rooms of `now`. Returns the rooms that it has at the service already. */
  #leaveRestored(socket: AnySocket, now: ReadonlySet<string>): ReadonlySet<string> {
    const restoration = this.#restoring.get(socket.id);
    if (restoration === undefined) return NONE;
    this.#restoring.delete(socket.id);
    connectionOf(socket)?.restorations.delete(this.nsp.name);
    const left = [...restoration.rooms].filter((room) => !now.has(room));
    if (left.length > 0) void this.#changeRooms(Type.Exit, socket, roomNames(left), []);
    return restoration.rooms;
  }

  /** Another app server or the REST API changed the rooms of a socket that is being restored. */
  restorationMoved(restoration: Restoration, joined: boolean, rooms: readonly string[]): void {
    restoration.moved(joined, rooms);
    this.#applyRooms(restoration.id, joined, rooms);
  }

  // --- sockets of all app servers ------------------------------------------------------------------

  override addSockets(options: BroadcastOptions, rooms: string[]): void {
    if (options.flags?.local) super.addSockets(options, rooms);
    else this.#changeSelected((ref, to) => ({ type: Type.Join, ref, to, rooms: roomNames(rooms) }), options);
  }

  override delSockets(options: BroadcastOptions, rooms: string[]): void {
    if (options.flags?.local) super.delSockets(options, rooms);
    else this.#changeSelected((ref, to) => ({ type: Type.Leave, ref, to, rooms: roomNames(rooms) }), options);
  }

  override disconnectSockets(options: BroadcastOptions, close: boolean): void {
    if (options.flags?.local) super.disconnectSockets(options, close);
    else this.#changeSelected((ref, to) => ({ type: Type.Disconnect, ref, to, close }), options);
  }

  #changeSelected(make: (ref: number, to: To) => FromApp, options: BroadcastOptions): void {
    if (this.context.closed()) return;
    // Without a number, the service answers only failures, which go to `report`.
    this.#uplink.send(make(0, selection(this.nsp.name, options)));
  }

  override async fetchSockets(options: BroadcastOptions): Promise<any[]> {
    if (options.flags?.local || this.context.closed()) return super.fetchSockets(options);
    const collector = new FetchCollector(this.nsp, this.#uplink.serverId);
    const asked = this.#fetch(options, (part, link) => collector.take(part, link));
    const [done, own] = await Promise.all([asked, this.#ownSockets(options)]);
    return collector.result(own, done.missing);
  }

  /** The selected sockets of this process: the in-memory adapter knows them, so that half of the answer need not
   * travel. */
  async #ownSockets(options: BroadcastOptions): Promise<AnySocket[]> {
    // Wait until the request has been sent; the answer takes longer than this.
    await new Promise(setImmediate);
    return super.fetchSockets(options) as Promise<AnySocket[]>;
  }

  override sockets(rooms: Set<string>): Promise<Set<string>> {
    if (this.context.closed()) return super.sockets(rooms);
    const ids = new Set<string>();
    const all = async (): Promise<Set<string>> => {
      for (const id of await super.sockets(rooms)) ids.add(id);
      return ids;
    };
    return new Promise((resolve, reject) => {
      this.#fetch({ rooms }, (part) => {
        if (part.type === Type.Sockets) for (const row of part.rows) ids.add(row.id);
        // All ids have arrived. The app servers' data is not needed.
        else if (part.type === Type.Asked) resolve(all());
      }).catch(reject);
    });
  }

  #fetch(options: BroadcastOptions, onPart: (part: Part, link: object) => void): Promise<Done> {
    const to = selection(this.nsp.name, options);
    const timeout = milliseconds(options.flags?.timeout ?? this.context.requestsTimeout);
    return this.#uplink.request((ref) => ({ type: Type.Fetch, ref, to, timeout, others: true }), { onPart });
  }

  // --- app servers -----------------------------------------------------------------------------------

  override async serverCount(): Promise<number> {
    if (this.context.closed()) return super.serverCount();
    if (this.#countsAsOne) {
      this.#countsAsOne = false;
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
    if (this.context.closed()) answerWithoutServers(packet);
    else sendServerEvent(this.#uplink, this.nsp.name, packet, milliseconds(this.context.requestsTimeout), this.context.report);
  }
}

const NONE: ReadonlySet<string> = new Set();
const nothing = (): void => {};

/** Listeners of "join-room" and similar events move to the new adapter. */
function moveListeners(previous: Adapter | undefined, adapter: Adapter): void {
  for (const event of previous?.eventNames() ?? [])
    for (const listener of previous?.rawListeners(event) ?? []) adapter.on(event, listener as (...args: any[]) => void);
}

/** Sets the handshake's time to when the service received it, which is the time that other app servers see. */
function setIssued(socket: AnySocket): void {
  const { issued } = socket.request as Partial<ClientRequest>;
  if (issued === undefined) return;
  socket.handshake.issued = issued;
  socket.handshake.time = dateText(issued);
}

/** Undefined for a client that connected to this process directly. */
function connectionOf(socket: AnySocket): Connection | undefined {
  const connection: unknown = socket.conn;
  return connection instanceof Connection ? connection : undefined;
}

const DIRECT_CLIENT =
  "A client has connected to this process directly instead of to Moorage: emits to rooms and namespaces do not reach it. " +
  "Do not call io.attach() or io.listen() after useMoorage().";

/** Gives new sockets the property that those of other app servers have, before their middlewares run: the first one
 * shows what all inherit from. Another promise for each socket would cost more. */
function markFresh(nsp: AnyNamespace): void {
  const namespace = insideNamespace(nsp);
  const { _createSocket } = namespace;
  const marking: typeof _createSocket = async (client, auth) => {
    const socket = await _createSocket.call(nsp, client, auth);
    if (namespace._createSocket === marking) namespace._createSocket = _createSocket;
    const shared = Object.getPrototypeOf(socket) as AnySocket;
    if (!Object.hasOwn(shared, "handedOver")) Object.defineProperty(shared, "handedOver", { value: false, configurable: true, writable: true });
    return socket;
  };
  namespace._createSocket = marking;
}
