// The interface of a link: its options, its handler and its events.

import type { ClientRequestArgs } from "node:http";

import type { Adopt, Done, Failed, FromApp, Part } from "../wire/frames.js";

export interface LinkOptions {
  /** The service, for example `http://localhost:8080`. It has a path where a proxy serves it under one. */
  readonly endpoint: string;
  /** The endpoint to dial instead: a proxy that forwards to `endpoint`. */
  readonly via?: string;
  /** The access key: the text after `AccessKey=` in the connection string. */
  readonly key: string;
  readonly hub: string;
  /** Unique among the hub's app servers. Default: a random id. */
  readonly serverId?: string;
  /** The SDK's name for the service's logs, for example `moorage-node/0.1.0`. */
  readonly sdk?: string;
  /** Bytes that may arrive unacknowledged. Default 4 MiB. */
  readonly window?: number;
  /** Bytes that may wait here before `send` throws. Default 16 MiB. */
  readonly maxQueueBytes?: number;
  /** Bytes of the largest message that is accepted. Default 64 MiB. */
  readonly maxMessageBytes?: number;
  /** Milliseconds in which an attempt to connect must succeed. Default 10,000. */
  readonly connectTimeout?: number;
  /** Repeat the first connect too while the service cannot be reached. Default false. */
  readonly retryFirst?: boolean;
  /** Never get clients. Default false. */
  readonly emitOnly?: boolean;
  /** Milliseconds for which clients may be away and come back to their sockets. Default 0: never. */
  readonly recovery?: number;
  /** Their return runs no handlers. Default false. */
  readonly quiet?: boolean;
  /** True if the app can continue traces of OpenTelemetry. Default: false. */
  readonly traces?: boolean;
  /** Aborts the first connect, which then resolves with a closed link. */
  readonly signal?: AbortSignal;
  /** Passed to the HTTP request: `agent`, `ca`, `rejectUnauthorized`, `headers` and so on. */
  readonly request?: ClientRequestArgs;
  /** The handler of each session, used from its first frame on. */
  readonly handlerOf: (link: ClientLink) => LinkHandler;
}

/** Called synchronously for each frame, in order. An exception becomes an "error" event of the link and does not end
 * it. */
export interface LinkHandler {
  /** A client asks for a session: answer with `Opened` or `Refused`. `handshake` is JSON. */
  open(client: number, id: string, user: string | null, handshake: string): void;
  /** Engine.IO packets in text form, joined by 0x1e. */
  packet(client: number, payload: string): void;
  /** `cause` is Socket.IO's reason; `reason` and `number` are from the service's catalogue. */
  closed(client: number, number: number, reason: string, cause: string): void;
  /** Another app server or the REST API removed this client's socket from the namespace. */
  left(client: number, namespace: string): void;
  /** This client has changed its transport. */
  upgraded(client: number, transport: string): void;
  /** Another app server or the REST API changed the rooms of this client's socket. */
  moved(client: number, namespace: string, joined: boolean, rooms: readonly string[]): void;
  /** The CONNECT packet of a namespace, with which the socket `sid` of an earlier connection goes on. `data` is JSON, ""
   * for none. */
  recover(client: number, namespace: string, packet: string, sid: string, rooms: readonly string[], data: string): void;
  /** Quiet recovery: the client is away. */
  parked(client: number, cause: string): void;
  /** Quiet recovery: the socket `sid` of client `was` belongs to `client` from now on. */
  back(client: number, namespace: string, sid: string, was: number): void;
  /** Finish the client's handlers, then answer with `State`. */
  freeze(client: number): void;
  /** A client of another app server: make its sockets, and answer with `Opened` or `Refused`. */
  adopt(frame: Adopt): void;
  /** Another app server serves the client. */
  released(client: number): void;
  /** No other app server has taken the client. */
  resume(client: number): void;
  /** The client's next packet is an event of a trace. */
  trace(client: number, ref: number, parent: string, state: string): void;
  /** Answer with `Facts`. */
  query(ref: number, namespace: string, sockets: readonly string[]): void;
  /** Answer with `Reply` if `ref` is not 0. */
  told(ref: number, sender: string, namespace: string, payload: string): void;
  /** The service stops in `seconds`. */
  drain(seconds: number): void;
  /** A frame that was sent with `ref` 0 failed. */
  failed(failure: Failed): void;
}

/** The link of one session: where frames about its clients go, and the answers to its questions. */
export interface ClientLink {
  /** A new session has a new id. Numbers of clients and questions are valid within one session only. */
  readonly sessionId: string;
  /** True if the service keeps sockets whose client may come back. */
  readonly recovers: boolean;
  send(frame: FromApp): void;
  sendVolatile(frame: FromApp): boolean;
  request(make: (ref: number) => FromApp, options?: RequestOptions): Promise<Done>;
}

export interface RequestOptions {
  /** Milliseconds after which the promise rejects, even if the service has not answered. Default: none. */
  readonly timeout?: number;
  /** Called synchronously for each part of the answer, in order. `link` tells the sessions of several nodes apart. */
  readonly onPart?: (part: Part, link: object) => void;
  /** Called synchronously at the end of the answer; the promise resolves only after all frames of the batch. */
  readonly onDone?: (done: Done) => void;
}

/** A node with a session of this app server. */
export interface NodeInfo {
  /** Its incarnation: a node that restarts has another one. */
  readonly id: string;
  /** Its name in the service's configuration; "" if the service has one node. */
  readonly name: string;
  /** Its region in the service's configuration; "" if it has none. */
  readonly region: string;
  /** True while the link to the node is up. */
  readonly connected: boolean;
  /** True for the node that forwards emits to nodes without a session. */
  readonly home: boolean;
}

export type LinkState = "connecting" | "up" | "lost" | "closed";

export interface LinkEvents {
  /** The last connection broke; the links connect again. */
  lost: [cause: Error];
  /** A link is up again. `resumed` false: with a new session, "session" came just before. */
  restored: [resumed: boolean];
  /** A session is lost: all its clients are gone. Frames about them, and answers to its questions, are dropped if a
   * listener sends them; all others go on. */
  session: [link: ClientLink];
  /** The links are closed for good. The error that ended it, or undefined after `close`. */
  closed: [cause: Error | undefined];
  /** An exception of a handler or listener. */
  error: [error: unknown];
}
