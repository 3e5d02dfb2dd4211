"""Spans of sampled events. The decision to sample is made before, so that events that are not sampled cost
nothing here.

A span is made when it ends, in the form that the exporter takes. The tracer of the SDK would lock, copy and
check its attributes one by one, for spans that anybody may change at any time."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from typing import Final

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from moorage import __version__

SCOPE: Final = "moorage"
_SAMPLED: Final = TraceFlags(TraceFlags.SAMPLED)
_UNSET: Final = Status(StatusCode.UNSET)
_ERRORS: Final = {
    "failed": Status(StatusCode.ERROR, "the handler failed"),
    "lost": Status(StatusCode.ERROR, "the app server was lost"),
    "timeout": Status(StatusCode.ERROR, "the app server did not say that the event was handled"),
}


class OtelSpan:
    """A span that is open."""

    __slots__ = ("_attributes", "_name", "_span_id", "_spans", "_start", "_trace_id", "parent", "state")

    def __init__(self, spans: OtelSpans, name: str, attributes: Mapping[str, str | int]) -> None:
        self._spans = spans
        self._name = name
        self._attributes = attributes
        self._trace_id = random.getrandbits(128) or 1
        self._span_id = random.getrandbits(64) or 1
        self._start = time.time_ns()
        self.parent = f"00-{self._trace_id:032x}-{self._span_id:016x}-01"
        self.state = ""

    def end(self, outcome: str) -> None:
        """End it. `outcome`: `handled`, or what went wrong."""
        self._spans.processor.on_end(
            ReadableSpan(
                self._name,
                SpanContext(self._trace_id, self._span_id, is_remote=False, trace_flags=_SAMPLED),
                resource=self._spans.resource,
                attributes={**self._attributes, "moorage.outcome": outcome},
                kind=SpanKind.SERVER,
                status=_ERRORS.get(outcome, _UNSET),
                start_time=self._start,
                end_time=time.time_ns(),
                instrumentation_scope=self._spans.scope,
            )
        )


class OtelSpans:
    """Makes the spans; `edge.moorage.tracing.Spans`."""

    def __init__(self, processor: SpanProcessor, resource: Resource, ratio: float) -> None:
        self.ratio = ratio
        self.processor = processor
        self.resource = resource
        self.scope = InstrumentationScope(SCOPE, __version__)

    def begin(self, event: str, attributes: Mapping[str, str | int]) -> OtelSpan:
        """Begin the span of a sampled event, which is the first of its trace."""
        return OtelSpan(self, f"receive {event}", attributes)
