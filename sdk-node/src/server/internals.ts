// The parts of socket.io's server that this package uses beyond its documented API. Other adapters use all of them
// too. The test of this file fails when a release of socket.io drops any of them.

import type { Namespace, Server, Socket } from "socket.io";
import type { Adapter } from "socket.io-adapter";
import type { Decoder, Encoder, Packet } from "socket.io-parser";

/** socket.io's classes without the event types of one application. */
export type AnyServer = Server<any, any, any, any>;
export type AnyNamespace = Namespace<any, any, any, any>;
export type AnySocket = Socket<any, any, any, any>;

interface ServerInternals {
  readonly encoder: Encoder;
  readonly _parser: { readonly Decoder: new () => Decoder };
  readonly engine: EngineInternals | undefined;
  readonly _nsps: ReadonlyMap<string, AnyNamespace>;
  readonly opts: EngineOptions;
  /** Dynamic namespaces. */
  readonly parentNsps: ReadonlyMap<unknown, unknown>;
  /** Makes a dynamic namespace, if one of `parentNsps` allows its name. */
  _checkNamespace(name: string, auth: unknown, done: (found: AnyNamespace | false) => void): void;
}

/** The options of a server that have a meaning behind a service. */
export interface EngineOptions {
  pingInterval?: number;
  pingTimeout?: number;
  maxHttpBufferSize?: number;
  allowRequest?: (request: any, decide: (error: string | null | undefined, success: boolean) => void) => void;
  connectionStateRecovery?: RecoveryOptions | undefined;
  cors?: unknown;
}

/** With socket.io's defaults filled in, and an option of ours. */
interface RecoveryOptions {
  maxDisconnectionDuration: number;
  skipMiddlewares: boolean;
  quiet?: boolean;
}

/** The engine that a server has before `useMoorage`: engine.io's own. */
export interface EngineInternals extends NodeJS.EventEmitter {
  readonly opts: EngineOptions;
  readonly middlewares?: readonly Middleware[];
  close(): unknown;
}

/** A middleware for `io.engine.use`, in Express' form. */
export type Middleware = (request: any, response: any, next: (error?: unknown) => void) => void;

interface NamespaceInternals {
  /** Sockets whose middlewares still run; they may join rooms. */
  readonly _preConnectSockets?: ReadonlyMap<string, AnySocket>;
  /** Middlewares. */
  readonly _fns: readonly unknown[];
  /** The last ack id that `socket.emit` has used, plus one. */
  _ids: number;
  /** With the recovery option, `auth` may name a session that the adapter restores. */
  _createSocket(client: ClientInternals, auth: unknown): Promise<AnySocket>;
  /** Connects a socket that has passed the middlewares. */
  _doConnect(socket: AnySocket, connected: (socket: AnySocket) => void): void;
  /** Connects a client; `connected` adds the socket to the client's. */
  _add(client: ClientInternals, auth: unknown, connected: (socket: AnySocket) => void): unknown;
  _onServerSideEmit(args: readonly unknown[]): void;
}

interface ClientInternals {
  _remove(socket: AnySocket): void;
}

interface SocketInternals {
  /** The adapter that the namespace had when the socket was made. */
  readonly adapter: Adapter;
  /** The object that has the sockets of one connection. */
  client: ClientInternals;
  /** The key by which a client comes back to its socket. */
  pid: string | undefined;
  /** Callbacks by ack id. */
  readonly acks: ReadonlyMap<number, unknown>;
  /** Takes it out of its rooms and its namespace. */
  _cleanup(): void;
  packet(packet: Packet, flags: unknown): void;
  _onclose(reason: string, description?: unknown): unknown;
  notifyOutgoingListeners(packet: Packet): void;
}

/** The releases of socket.io that have all of the above. The tests run the oldest and the newest. */
export const SUPPORTED = "4.8.0 and later 4.x";

/** True if this server has the internals listed above. A server does not show its version. */
export function isSupported(server: AnyServer): boolean {
  const { encoder, _parser, _nsps } = insideServer(server);
  const root = _nsps instanceof Map ? (_nsps.get("/") as Partial<NamespaceInternals> | undefined) : undefined;
  return (
    typeof encoder?.encode === "function" &&
    typeof _parser?.Decoder === "function" &&
    typeof root?._onServerSideEmit === "function" &&
    // New in 4.8.
    root._preConnectSockets instanceof Map
  );
}

export function insideServer(server: AnyServer): ServerInternals {
  return server as unknown as ServerInternals;
}

export function insideNamespace(namespace: AnyNamespace): NamespaceInternals {
  return namespace as unknown as NamespaceInternals;
}

export function insideSocket(socket: AnySocket): SocketInternals {
  return socket as unknown as SocketInternals;
}
