// The frames of connection state recovery. Revision 5.

import type { Close, Disconnect, Emit, EnterOrExit, JoinOrLeave } from "./app.js";
import type { Packet, Type } from "./parts.js";

/** Instead of a client's CONNECT packet: the socket `sid` of an earlier connection goes on with this client. The app
 * server answers the CONNECT with this id. */
export interface Recover {
  readonly type: typeof Type.Recover;
  readonly client: number;
  readonly namespace: string;
  /** The CONNECT packet as received. */
  readonly packet: string;
  readonly sid: string;
  /** Without the private room. */
  readonly rooms: readonly string[];
  /** JSON: what `Save` brought; "" for nothing. */
  readonly data: string;
}

/** Quiet recovery: a client is away and may come back. Its sockets live on. `cause`: Socket.IO's reason. */
export interface Parked {
  readonly type: typeof Type.Parked;
  readonly client: number;
  readonly cause: string;
}

/** Quiet recovery: the socket `sid` of the client `was` belongs to `client` from now on. */
export interface Back {
  readonly type: typeof Type.Back;
  readonly client: number;
  readonly namespace: string;
  readonly sid: string;
  readonly was: number;
}

/** A `Save` in its encoded form. */
export interface SavedAgain {
  readonly type: typeof Type.Save;
  readonly frame: Uint8Array;
}

/** A frame of the session `session` at `node`, which is lost: the one at `place` (from 0) of this batch. The node may not
 * have carried it out. */
export interface Unfinished {
  readonly type: typeof Type.Unfinished;
  readonly node: string;
  readonly session: string;
  readonly batch: number;
  readonly place: number;
  /** Or its encoded form. */
  readonly frame: Packet | Emit | JoinOrLeave | Disconnect | EnterOrExit | Close | Uint8Array;
}

/** There was a session at `node`, which is lost, and all `Unfinished` frames have been sent. `number` is that of the
 * latest counted frame. */
export interface Settled {
  readonly type: typeof Type.Settled;
  readonly node: string;
  readonly number: number;
}

/** After `Closed`, for each socket that may be recovered: its data, as JSON. */
export interface Save {
  readonly type: typeof Type.Save;
  readonly namespace: string;
  readonly sid: string;
  readonly data: string;
}
