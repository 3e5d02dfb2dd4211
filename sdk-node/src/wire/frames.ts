// The frames of the `moorage.v1` dialect, as docs/reference/link-protocol.md defines them.
//
// A frame is a plain object; `type` is its number in the protocol. Payloads are text (Engine.IO packets in text
// form); handshakes and facts are JSON text. On the link, both are MessagePack bins of UTF-8.

export const SUBPROTOCOL = "moorage.v1";

/** Counts additions within version 1. Each side sends its own; the lower one applies. */
export const REVISION = 2;

/** Flag of emits: skip clients that cannot take the packet at once. */
export const VOLATILE = 1;
/** Flag of emits: only clients of the app server that emits. */
export const LOCAL = 2;

/** The types of frames. */
export const Type = {
  Hello: 0,
  Open: 1,
  Opened: 2,
  Refused: 3,
  Packet: 4,
  Closed: 5,
  Close: 6,
  Left: 7,
  Moved: 8,
  Upgraded: 9,
  Emit: 10,
  Ask: 11,
  Asked: 12,
  Answer: 13,
  Done: 14,
  Failed: 15,
  Enter: 20,
  Exit: 21,
  Join: 22,
  Leave: 23,
  Disconnect: 24,
  Fetch: 30,
  Sockets: 31,
  Query: 32,
  Facts: 33,
  Data: 34,
  Tell: 40,
  Told: 41,
  Reply: 42,
  List: 43,
  Servers: 44,
  Drain: 50,
} as const;

/** Selects the sockets of `namespace` that are in any of `rooms` (empty: all sockets) and in none of `excluded`. */
export interface To {
  readonly namespace: string;
  readonly rooms: readonly string[];
  readonly excluded: readonly string[];
}

// --- both ways -----------------------------------------------------------------------------------

/** Engine.IO packets from or to one client, joined by 0x1e. */
export interface Packet {
  readonly type: typeof Type.Packet;
  readonly client: number;
  readonly payload: string;
}

/** To the service: send no new clients. From the service: it stops in `seconds`. */
export interface Drain {
  readonly type: typeof Type.Drain;
  readonly seconds: number;
}

// --- from the app server -------------------------------------------------------------------------

/** The first frame. `session` and `received` identify the session to resume; "" and 0 for a new one. */
export interface AppHello {
  readonly type: typeof Type.Hello;
  readonly revision: number;
  readonly sdk: string;
  readonly session: string;
  readonly received: number;
  /** Bytes that the app server accepts unacknowledged. */
  readonly window: number;
  /** True if the app server never gets clients. */
  readonly emitOnly: boolean;
}

/** Accepts a client with these limits, in milliseconds and bytes of one message. */
export interface Opened {
  readonly type: typeof Type.Opened;
  readonly client: number;
  readonly pingInterval: number;
  readonly pingTimeout: number;
  readonly maxPayload: number;
}

/** Refuses a client. A status from 400 to 499 means that the client is at fault, any other the app server. */
export interface Refused {
  readonly type: typeof Type.Refused;
  readonly client: number;
  readonly status: number;
  readonly message: string;
}

/** Closes a client's connection. */
export interface Close {
  readonly type: typeof Type.Close;
  readonly client: number;
}

/** Sends `payload` to the sockets of `to`. With `ref` 0, only a failure is answered. */
export interface Emit {
  readonly type: typeof Type.Emit;
  readonly ref: number;
  readonly to: To;
  readonly flags: number;
  readonly payload: string;
}

/** Sends an event and collects an ack from each socket: `Asked`, `Answer`s, `Done`. `timeout` in milliseconds. */
export interface Ask {
  readonly type: typeof Type.Ask;
  readonly ref: number;
  readonly to: To;
  readonly flags: number;
  readonly timeout: number;
  readonly payload: string;
}

/** One of the app server's own sockets joins (`Enter`) or leaves (`Exit`) rooms. */
export interface EnterOrExit {
  readonly type: typeof Type.Enter | typeof Type.Exit;
  readonly ref: number;
  readonly client: number;
  readonly namespace: string;
  readonly rooms: readonly string[];
}

/** The sockets of `to`, on any app server, join or leave `rooms`. */
export interface JoinOrLeave {
  readonly type: typeof Type.Join | typeof Type.Leave;
  readonly ref: number;
  readonly to: To;
  readonly rooms: readonly string[];
}

/** The sockets of `to` leave their namespace; `close` also closes their connections. */
export interface Disconnect {
  readonly type: typeof Type.Disconnect;
  readonly ref: number;
  readonly to: To;
  readonly close: boolean;
}

/** Lists the sockets of `to`: `Sockets`, then `Data` of each app server that was asked, then `Done`. */
export interface Fetch {
  readonly type: typeof Type.Fetch;
  readonly ref: number;
  readonly to: To;
  readonly timeout: number;
  /** True to leave out the requester's own sockets. */
  readonly others: boolean;
}

/** The facts of some sockets: a JSON array of `count` objects. */
export interface Chunk {
  readonly count: number;
  readonly facts: string;
}

/** The answer to `Query`: an object for each of its sockets, in the same order. */
export interface Facts {
  readonly type: typeof Type.Facts;
  readonly ref: number;
  readonly chunks: readonly Chunk[];
}

/** An event for all other app servers. `timeout` in milliseconds; 0 means that no answers are expected. */
export interface Tell {
  readonly type: typeof Type.Tell;
  readonly ref: number;
  readonly namespace: string;
  readonly timeout: number;
  readonly payload: string;
}

/** The answer to `Told`. */
export interface Reply {
  readonly type: typeof Type.Reply;
  readonly ref: number;
  readonly payload: string;
}

/** Lists the hub's app servers. */
export interface List {
  readonly type: typeof Type.List;
  readonly ref: number;
}

export type FromApp =
  | AppHello
  | Opened
  | Refused
  | Packet
  | Close
  | Emit
  | Ask
  | EnterOrExit
  | JoinOrLeave
  | Disconnect
  | Fetch
  | Facts
  | Tell
  | Reply
  | List
  | Drain;

// --- from the service ----------------------------------------------------------------------------

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

export type FromService =
  | ServiceHello
  | Open
  | Packet
  | Closed
  | Left
  | Upgraded
  | Moved
  | Asked
  | Answer
  | Done
  | Failed
  | Sockets
  | Query
  | Data
  | Told
  | Servers
  | Drain;

/** The frames that may come for a request before its end. */
export type Part = Asked | Answer | Sockets | Data | Servers;
