// What a link takes and gives: options, the handler that frames are handed to, events.

import type { ClientRequestArgs } from "node:http";

import type { Done, Failed, Part } from "../wire/frames.js";

export interface LinkOptions {
  /** The service, for example `http://localhost:8080`; with a path where a proxy puts it under one. */
  readonly endpoint: string;
  /** Where to dial instead: a proxy that passes on to `endpoint`. */
  readonly via?: string;
  /** The access key: the text after `AccessKey=` in the connection string. */
  readonly key: string;
  readonly hub: string;
  /** Unique among the hub's app servers. Default: a random one. */
  readonly serverId?: string;
  /** Named to the service for its logs, for example `moorage-node/0.1.0`. */
  readonly sdk?: string;
  /** Bytes that may come unacknowledged. Default 4 MiB. */
  readonly window?: number;
  /** Bytes that may wait here before `send` throws. Default 16 MiB. */
  readonly maxQueueBytes?: number;
  /** Bytes of the largest message that may come. Default 64 MiB. */
  readonly maxMessageBytes?: number;
  /** Milliseconds in which an attempt to connect must succeed. Default 10,000. */
  readonly connectTimeout?: number;
  /** Try the first connect again too, for as long as the service cannot be reached. Default false. */
  readonly retryFirst?: boolean;
  /** Never get clients. Default false. */
  readonly emitOnly?: boolean;
  /** Gives the first connect up: it then resolves with a link that is closed. */
  readonly signal?: AbortSignal;
  /** Given to the HTTP request: `agent`, `ca`, `rejectUnauthorized`, `headers` and so on. */
  readonly request?: ClientRequestArgs;
  /** Set before anything can come. */
  readonly handler?: LinkHandler;
}

/** Called synchronously, frame by frame in their order. What it throws becomes an "error" event of the
 * link and ends nothing. */
export interface LinkHandler {
  /** A client asks for a session: answer with `Opened` or `Refused`. `handshake` is JSON. */
  open(client: number, id: string, user: string | null, handshake: string): void;
  /** Engine.IO packets in text form, joined by 0x1e. */
  packet(client: number, payload: string): void;
  /** `cause` in Socket.IO's words, `reason` and `number` in the service's. */
  closed(client: number, number: number, reason: string, cause: string): void;
  /** Somebody else took this client's socket out of the namespace. */
  left(client: number, namespace: string): void;
  /** This client has changed its transport. */
  upgraded(client: number, transport: string): void;
  /** Somebody else changed the rooms of this client's socket. */
  moved(client: number, namespace: string, joined: boolean, rooms: readonly string[]): void;
  /** Answer with `Facts`. */
  query(ref: number, namespace: string, sockets: readonly string[]): void;
  /** Answer with `Reply` if `ref` is not 0. */
  told(ref: number, sender: string, namespace: string, payload: string): void;
  /** The service goes in so many seconds. */
  drain(seconds: number): void;
  /** Something that was sent with `ref` 0 failed. */
  failed(failure: Failed): void;
}

export interface RequestOptions {
  /** Milliseconds after which the promise rejects, whatever the service does. Default: none. */
  readonly timeout?: number;
  /** Called synchronously for each part of the answer, in order. */
  readonly onPart?: (part: Part) => void;
  /** Called synchronously for the end of the answer; the promise comes only after all frames of the batch. */
  readonly onDone?: (done: Done) => void;
}

export type LinkState = "connecting" | "up" | "lost" | "closed";

export interface LinkEvents {
  /** The connection broke; it is being made again. */
  lost: [cause: Error];
  /** It is back. `resumed` false: as a new session, "session" came just before. */
  restored: [resumed: boolean];
  /** A new session after a lost one: all clients of the old one are gone. What listeners send for old
   * clients, or in answer to old questions, goes nowhere; all else goes to the new session. */
  session: [sessionId: string];
  /** For good. With the error that ended it, unless `close` was called. */
  closed: [cause: Error | undefined];
  /** What a handler threw. */
  error: [error: unknown];
}
