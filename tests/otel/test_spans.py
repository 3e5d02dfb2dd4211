"""The service's span of a sampled event."""

from __future__ import annotations

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from moorage.otel.spans import OtelSpans


def ended(outcome: str) -> tuple[ReadableSpan, str]:
    """A finished span, and the `traceparent` that crossed the link."""
    exporter = InMemorySpanExporter()
    spans = OtelSpans(SimpleSpanProcessor(exporter), Resource({"service.name": "moorage"}), 1.0)
    begun = spans.begin("chat", {"moorage.hub": "app"})
    assert begun.state == ""
    begun.end(outcome)
    (span,) = exporter.get_finished_spans()
    return span, begun.parent


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        ("handled", StatusCode.UNSET),
        ("failed", StatusCode.ERROR),
        ("lost", StatusCode.ERROR),
        ("timeout", StatusCode.ERROR),
    ],
)
def test_a_span_says_how_the_event_ended(outcome: str, status: StatusCode) -> None:
    span, _ = ended(outcome)
    assert (span.name, span.kind, span.status.status_code) == ("receive chat", SpanKind.SERVER, status)
    assert span.attributes == {"moorage.hub": "app", "moorage.outcome": outcome}
    assert span.resource.attributes["service.name"] == "moorage"
    assert 0 <= span.end_time - span.start_time < 10**9  # type: ignore[operator]


def test_others_read_its_traceparent() -> None:
    span, parent = ended("handled")
    context = TraceContextTextMapPropagator().extract({"traceparent": parent})
    (found,) = context.values()
    inside = found.get_span_context()  # type: ignore[attr-defined]
    assert (inside.trace_id, inside.span_id) == (span.context.trace_id, span.context.span_id)
    assert inside.trace_flags.sampled
