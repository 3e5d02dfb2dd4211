// The frames by which a client moves from one app server to another. Revision 5.

import type { Type } from "./parts.js";

/** One socket of `State`, as its app server leaves it. */
export interface Leaving {
  readonly namespace: string;
  readonly sid: string;
  /** JSON in the form of `Facts`; "" if there is nothing to tell. */
  readonly data: string;
  /** The highest ack id that the app server has used for it. */
  readonly acks: number;
  /** Ack ids whose answers the app server still waits for. */
  readonly pending: readonly number[];
}

/** One socket of `Adopt`, as its new app server must make it. */
export interface Arriving {
  readonly namespace: string;
  readonly sid: string;
  /** Without the private room. */
  readonly rooms: readonly string[];
  readonly data: string;
  /** The new app server uses higher ack ids. */
  readonly acks: number;
}

/** Give all clients of the sender to other app servers. Answered by `Done`: `count` clients have left the sender, and
 * those in `missing` (their connection ids) could not. */
export interface HandOver {
  readonly type: typeof Type.HandOver;
  readonly ref: number;
}

/** The answer to `Freeze`: the last frame about this client. */
export interface State {
  readonly type: typeof Type.State;
  readonly client: number;
  readonly sockets: readonly Leaving[];
}

/** Finish this client's running handlers, then answer with `State`. */
export interface Freeze {
  readonly type: typeof Type.Freeze;
  readonly client: number;
}

/** A client whose sockets exist already. Answered by `Opened` or `Refused`, as an `Open`. */
export interface Adopt {
  readonly type: typeof Type.Adopt;
  readonly client: number;
  readonly id: string;
  readonly user: string | null;
  readonly handshake: string;
  /** Its transport now; the handshake tells the first one. */
  readonly transport: string;
  readonly sockets: readonly Arriving[];
}

/** Another app server serves this client now. Forget it without an event. */
export interface Released {
  readonly type: typeof Type.Released;
  readonly client: number;
}

/** No other app server took this client. Go on with it. */
export interface Resume {
  readonly type: typeof Type.Resume;
  readonly client: number;
}
