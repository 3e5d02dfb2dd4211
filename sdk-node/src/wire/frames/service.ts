// The frames that the service sends.

import type { Chunk, Type } from "./parts.js";

/** The answer to `AppHello`; times in milliseconds. */
export interface ServiceHello {
  readonly type: typeof Type.Hello;
  readonly revision: number;
  readonly service: string;
  readonly session: string;
  readonly resumed: boolean;
  readonly received: number;
  readonly window: number;
  /** Bytes of the largest message that the service accepts on the link. */
  readonly maxBatch: number;
  readonly keepalive: number;
  readonly grace: number;
  readonly hub: string;
  readonly node: string;
  /** Bytes of the largest message that the service accepts from a client; 0 if unknown. */
  readonly maxPayload: number;
  /** Milliseconds for which sockets of this app server may be away and be recovered; 0 for never: what the app server
   * has asked for, as the hub's settings limit or replace it. Revision 5. */
  readonly recovery: number;
  /** True if the service wants to know what its nodes had not carried out when they were lost. Revision 5. */
  readonly keeps: boolean;
}

/** A client asks for a session. `handshake` is JSON. */
export interface Open {
  readonly type: typeof Type.Open;
  readonly client: number;
  readonly id: string;
  readonly user: string | null;
  readonly handshake: string;
}

/** A client is gone. `cause` is Socket.IO's reason; `reason` and `number` are from the service's catalogue. */
export interface Closed {
  readonly type: typeof Type.Closed;
  readonly client: number;
  readonly number: number;
  readonly reason: string;
  readonly cause: string;
}

/** The client has changed its transport. Revision 2. */
export interface Upgraded {
  readonly type: typeof Type.Upgraded;
  readonly client: number;
  readonly transport: string;
}

/** Another app server or the REST API removed this socket from its namespace; the client has been notified. */
export interface Left {
  readonly type: typeof Type.Left;
  readonly client: number;
  readonly namespace: string;
}

/** Another app server or the REST API changed this socket's rooms. */
export interface Moved {
  readonly type: typeof Type.Moved;
  readonly client: number;
  readonly namespace: string;
  readonly joined: boolean;
  readonly rooms: readonly string[];
}

/** The number of answers that an `Ask`, a `Tell` or a `Fetch` waits for. */
export interface Asked {
  readonly type: typeof Type.Asked;
  readonly ref: number;
  readonly count: number;
}

/** One answer: of a socket to an `Ask`, or of an app server to a `Tell`. `sender` is its id. */
export interface Answer {
  readonly type: typeof Type.Answer;
  readonly ref: number;
  readonly sender: string;
  readonly payload: string;
}

/** The end of the answer to `ref`. `missing`: the ids of those that did not answer. */
export interface Done {
  readonly type: typeof Type.Done;
  readonly ref: number;
  readonly count: number;
  readonly missing: readonly string[];
}

/** The request `ref` failed (`ref` 0: a frame without a number). */
export interface Failed {
  readonly type: typeof Type.Failed;
  readonly ref: number;
  readonly number: number;
  readonly reason: string;
  readonly message: string;
}

/** One socket of `Sockets`. `server` is an index into the frame's list; `opened` is in milliseconds since 1970 (0 if
 * unknown). The private room is not listed. */
export interface Row {
  readonly id: string;
  readonly connection: string;
  readonly user: string | null;
  readonly server: number;
  readonly opened: number;
  readonly rooms: readonly string[];
  readonly handshake: string;
  /** The number of the `Headers` in this frame that also belong to the handshake; 0 for none. */
  readonly shared: number;
}

/** JSON of headers that many clients have in common. */
export interface Headers {
  readonly number: number;
  readonly headers: string;
}

/** A subset of an array's interface; see rows.ts. */
export interface Rows extends Iterable<Row> {
  readonly length: number;
  at(index: number): Row | undefined;
}

/** A part of the answer to `Fetch`. */
export interface Sockets {
  readonly type: typeof Type.Sockets;
  readonly ref: number;
  readonly servers: readonly string[];
  readonly rows: Rows;
  readonly headers: readonly Headers[];
}

/** Another app server asks for the data of these sockets: answer with `Facts`. */
export interface Query {
  readonly type: typeof Type.Query;
  readonly ref: number;
  readonly namespace: string;
  readonly sockets: readonly string[];
}

/** The `Facts` of `server`, forwarded: in the order of its rows in `Sockets`. */
export interface Data {
  readonly type: typeof Type.Data;
  readonly ref: number;
  readonly server: string;
  readonly chunks: readonly Chunk[];
}

/** An event from another app server. `ref` 0: no answer is expected. */
export interface Told {
  readonly type: typeof Type.Told;
  readonly ref: number;
  readonly sender: string;
  readonly namespace: string;
  readonly payload: string;
}

/** One app server of `Servers`. */
export interface ServerRow {
  readonly id: string;
  readonly dialect: string;
  readonly up: boolean;
  readonly clients: number;
}

/** The answer to `List`. */
export interface Servers {
  readonly type: typeof Type.Servers;
  readonly ref: number;
  readonly rows: readonly ServerRow[];
}

/** One node of `Nodes`. */
export interface NodeRow {
  /** Its incarnation. */
  readonly id: string;
  /** For people. */
  readonly name: string;
  /** Where app servers reach it; "" if they reach it by their own endpoint. */
  readonly url: string;
  readonly region: string;
  /** True if the app server should have a session there. */
  readonly cover: boolean;
}

/** All live nodes of the cluster, the sender included. A list with a lower version is outdated. Revision 4. */
export interface Nodes {
  readonly type: typeof Type.Nodes;
  readonly version: number;
  readonly rows: readonly NodeRow[];
}

/** The frames that may come for a request before its end. */
export type Part = Asked | Answer | Sockets | Data | Servers;
