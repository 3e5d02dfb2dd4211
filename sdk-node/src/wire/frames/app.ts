// The frames that an app server sends.

import type { Chunk, To, Type } from "./parts.js";

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
  /** Random, new at each start of the app server. Revision 3. */
  readonly instance: string;
  /** Milliseconds for which its sockets may be away and be recovered; 0 for never. Revision 5. */
  readonly recovery: number;
  /** True if a return within this time must run no handler. Revision 5. */
  readonly quiet: boolean;
  /** True if it can continue traces of OpenTelemetry. Revision 6. */
  readonly traces: boolean;
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

/** A frame that the app server numbers. */
export interface Counted {
  /** Set by the link: one counter for all these frames, which never goes back while the process runs. Revision 3. */
  number?: number;
}

/** Sends `payload` to the sockets of `to`. With `ref` 0, only a failure is answered. */
export interface Emit extends Counted {
  readonly type: typeof Type.Emit;
  readonly ref: number;
  readonly to: To;
  readonly flags: number;
  readonly payload: string;
}

/** Sends an event and collects an ack from each socket: `Asked`, `Answer`s, `Done`. `timeout` in milliseconds. */
export interface Ask extends Counted {
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
export interface JoinOrLeave extends Counted {
  readonly type: typeof Type.Join | typeof Type.Leave;
  readonly ref: number;
  readonly to: To;
  readonly rooms: readonly string[];
}

/** The sockets of `to` leave their namespace; `close` also closes their connections. */
export interface Disconnect extends Counted {
  readonly type: typeof Type.Disconnect;
  readonly ref: number;
  readonly to: To;
  readonly close: boolean;
}

/** Lists the sockets of `to`: `Sockets`, then `Data` of each app server that was asked, then `Done`. */
export interface Fetch extends Counted {
  readonly type: typeof Type.Fetch;
  readonly ref: number;
  readonly to: To;
  readonly timeout: number;
  /** True to leave out the requester's own sockets. */
  readonly others: boolean;
}

/** The answer to `Query`: an object for each of its sockets, in the same order. */
export interface Facts {
  readonly type: typeof Type.Facts;
  readonly ref: number;
  readonly chunks: readonly Chunk[];
}

/** An event for all other app servers. `timeout` in milliseconds; 0 means that no answers are expected. */
export interface Tell extends Counted {
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

/** What the sender covers. The first frame of each session of an app server that covers several nodes, and sent again on
 * all of them after each change. Revision 4. */
export interface Cover {
  readonly type: typeof Type.Cover;
  /** Grows with each change. All sessions get the same one with the same change. */
  readonly term: number;
  /** True if the receiver forwards the app server's commands to nodes outside `nodes`. */
  readonly home: boolean;
  /** True if the receiver must hold what follows until the home's mark has arrived. */
  readonly fence: boolean;
  /** Incarnations of all nodes at which the app server has a live session, the receiver included. */
  readonly nodes: readonly string[];
}

/** A frame of a lost home session that may not have been forwarded: to be forwarded only. Revision 4. */
export interface Again {
  readonly type: typeof Type.Again;
  /** The lost frame, or its encoded form. */
  readonly frame: Emit | Ask | JoinOrLeave | Disconnect | Fetch | Uint8Array;
}
