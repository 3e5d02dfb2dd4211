// The frames of connection state recovery. Revision 5.

import type { Type } from "./frames.js";

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

/** After `Closed`, for each socket that may be recovered: its data, as JSON. */
export interface Save {
  readonly type: typeof Type.Save;
  readonly namespace: string;
  readonly sid: string;
  readonly data: string;
}
