"""Spans of sampled events. The decision to sample is made before, so that events that are not sampled cost
nothing here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, TracerProvider

from moorage import __version__

SCOPE: Final = "moorage"
_ERRORS: Final = {
    "failed": "the handler failed",
    "lost": "the app server was lost",
    "timeout": "the app server did not say that the event was handled",
}


class OtelSpan:
    """A span that is open."""

    __slots__ = ("_span", "parent", "state")

    def __init__(self, span: Span) -> None:
        context = span.get_span_context()
        self._span = span
        self.parent = f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
        self.state = context.trace_state.to_header()

    def end(self, outcome: str) -> None:
        """End it. `outcome`: `handled`, or what went wrong."""
        self._span.set_attribute("moorage.outcome", outcome)
        if outcome in _ERRORS:
            self._span.set_status(Status(StatusCode.ERROR, _ERRORS[outcome]))
        self._span.end()


class OtelSpans:
    """Makes the spans; `edge.moorage.tracing.Spans`."""

    def __init__(self, provider: TracerProvider, ratio: float) -> None:
        self.ratio = ratio
        self._tracer = provider.get_tracer(SCOPE, __version__)

    def begin(self, event: str, attributes: Mapping[str, str | int]) -> OtelSpan:
        """Begin the span of a sampled event, which is the first of its trace."""
        span = self._tracer.start_span(
            f"receive {event}", context=Context(), kind=SpanKind.SERVER, attributes=attributes
        )
        return OtelSpan(span)
