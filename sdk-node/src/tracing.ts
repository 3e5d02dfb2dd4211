// Continues the service's traces of OpenTelemetry in the handlers of events. Only the API package is used, and only
// if the app has it. Where the app has set up no OpenTelemetry SDK, nothing is recorded.

import type * as Api from "@opentelemetry/api";

import { eventOf, namespaceOf } from "./engine/payload.js";

/** The trace that an event of a client belongs to. */
export interface TraceContext {
  readonly ref: number;
  /** W3C `traceparent` and `tracestate`. */
  readonly parent: string;
  readonly state: string;
}

const TRACEPARENT = /^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$/;

let api: typeof Api | undefined;

/** Loads the API package. Resolves with false if the app does not have it. */
export async function loadTracing(): Promise<boolean> {
  try {
    api = await import("@opentelemetry/api");
  } catch {
    return false;
  }
  return true;
}

/** The span of one event's handlers. */
export class HandlerSpan {
  readonly #context: Api.Context | undefined;
  readonly #span: Api.Span | undefined;
  #ended = false;

  /** `text` is the Socket.IO packet of the event. `answer` is called at the end. */
  constructor(
    trace: TraceContext,
    text: string,
    private readonly answer: () => void,
  ) {
    if (api === undefined) return;
    const event = eventOf(text);
    const parent = parentOf(api, trace);
    const attributes = {
      "messaging.system": "socket.io",
      "messaging.operation.name": "process",
      "messaging.operation.type": "process",
      "messaging.destination.name": namespaceOf(text),
      "moorage.event": event,
    };
    this.#span = api.trace.getTracer("moorage").startSpan(`process ${event}`, { kind: api.SpanKind.CONSUMER, attributes }, parent);
    this.#context = api.trace.setSpan(parent, this.#span);
  }

  /** Runs `call`, and the asynchronous work that it starts, within the span. */
  run(call: () => void): void {
    if (api === undefined || this.#context === undefined) call();
    else api.context.with(this.#context, call);
  }

  /** The event is handled. */
  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#span?.end();
    this.answer();
  }
}

/** Events of one client that may wait for their acks within spans. The client chooses the ack ids, and the app may never
 * answer, so the number needs a limit. */
const MAX_OPEN = 100;

/** The spans of one client's events that have got no ack yet, by the key of the ack. */
export class OpenSpans {
  readonly #spans = new Map<string, HandlerSpan>();

  /** Keeps a span until its ack. The oldest one ends if there are too many. */
  add(key: string, span: HandlerSpan): void {
    this.take(key)?.end();
    this.#spans.set(key, span);
    const [oldest] = this.#spans.keys();
    if (this.#spans.size > MAX_OPEN && oldest !== undefined) this.take(oldest)?.end();
  }

  /** The span that waits for this ack, which has come. */
  take(key: string): HandlerSpan | undefined {
    const span = this.#spans.get(key);
    this.#spans.delete(key);
    return span;
  }

  /** The client is gone. */
  end(): void {
    for (const span of this.#spans.values()) span.end();
    this.#spans.clear();
  }
}

/** The context of the service's span. Read by hand: the API package has no reader, and the app may have another form of
 * propagation. */
function parentOf({ createTraceState, ROOT_CONTEXT, trace }: typeof Api, { parent, state }: TraceContext): Api.Context {
  const found = TRACEPARENT.exec(parent);
  const [, traceId, spanId, flags] = found ?? [];
  if (traceId === undefined || spanId === undefined) return ROOT_CONTEXT;
  const traceFlags = Number.parseInt(flags ?? "0", 16);
  const more = state === "" ? {} : { traceState: createTraceState(state) };
  return trace.setSpanContext(ROOT_CONTEXT, { traceId, spanId, traceFlags, isRemote: true, ...more });
}
