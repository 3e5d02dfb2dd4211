// The frames of the `moorage.v1` dialect, as docs/reference/link-protocol.md defines them.
//
// A frame is a plain object; `type` is its number in the protocol. Payloads are text (Engine.IO packets in text
// form); handshakes and facts are JSON text. On the link, both are MessagePack bins of UTF-8.

import type { Again, AppHello, Ask, Close, Cover, Disconnect, Emit, EnterOrExit, Facts, Fetch, JoinOrLeave, List, Opened, Refused, Reply, Tell } from "./frames/app.js";
import type { Adopt, Freeze, HandOver, Released, Resume, State } from "./frames/handover.js";
import type { Drain, Packet } from "./frames/parts.js";
import type { Back, Parked, Recover, Save, SavedAgain, Settled, Unfinished } from "./frames/recovery.js";
import type { Answer, Asked, Closed, Data, Done, Failed, Left, Moved, Nodes, Open, Query, Servers, ServiceHello, Sockets, Told, Upgraded } from "./frames/service.js";
import type { Trace, Traced } from "./frames/trace.js";

export * from "./frames/parts.js";
export type * from "./frames/app.js";
export type * from "./frames/handover.js";
export type * from "./frames/recovery.js";
export type * from "./frames/service.js";
export type * from "./frames/trace.js";

/** The frames from an app server. */
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
  | Cover
  | Again
  | Save
  | SavedAgain
  | Unfinished
  | Settled
  | HandOver
  | State
  | Traced
  | Drain;

/** The frames from the service. */
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
  | Nodes
  | Recover
  | Parked
  | Back
  | Freeze
  | Adopt
  | Released
  | Resume
  | Trace
  | Drain;
