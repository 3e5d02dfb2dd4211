// The frames that carry a trace of OpenTelemetry across a link. Revision 6.

import type { Type } from "./parts.js";

/** The next `Packet` of this client is an event of a sampled trace. Answered by `Traced`. */
export interface Trace {
  readonly type: typeof Type.Trace;
  readonly ref: number;
  readonly client: number;
  /** The W3C `traceparent` of the service's span. */
  readonly parent: string;
  /** The W3C `tracestate`. */
  readonly state: string;
}

/** The event of `Trace` is handled. */
export interface Traced {
  readonly type: typeof Type.Traced;
  readonly ref: number;
  readonly failed: boolean;
}
