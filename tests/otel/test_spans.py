"""The service's span of a sampled event."""

from __future__ import annotations

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from moorage.otel.batches import Batches
from moorage.otel.encoding import request
from moorage.otel.settings import Batching
from moorage.otel.spans import OtelSpans


def ended(outcome: str) -> tuple[Span, str]:
    """A finished span, and the `traceparent` that crossed the link."""
    kept: list[bytes] = []
    batches = Batches(kept.extend, Batching())
    spans = OtelSpans(batches, 1.0).sharing({"moorage.hub": "app"})
    begun = spans.begin(lambda: ("chat", {"moorage.ack": "no"}))
    assert begun.state == ""
    begun.end(outcome)
    batches.close()
    sent = ExportTraceServiceRequest.FromString(request(b"", b"", kept))
    return sent.resource_spans[0].scope_spans[0].spans[0], begun.parent


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        ("handled", Status.STATUS_CODE_UNSET),
        ("failed", Status.STATUS_CODE_ERROR),
        ("lost", Status.STATUS_CODE_ERROR),
        ("timeout", Status.STATUS_CODE_ERROR),
    ],
)
def test_a_span_says_how_the_event_ended(outcome: str, status: int) -> None:
    span, _ = ended(outcome)
    assert (span.name, span.kind, span.status.code) == ("receive chat", Span.SPAN_KIND_SERVER, status)
    assert bool(span.status.message) == (status == Status.STATUS_CODE_ERROR)
    found = {one.key: one.value.string_value for one in span.attributes}
    assert found == {"moorage.hub": "app", "moorage.ack": "no", "moorage.outcome": outcome}
    assert 0 <= span.end_time_unix_nano - span.start_time_unix_nano < 10**9


def test_others_read_its_traceparent() -> None:
    span, parent = ended("handled")
    context = TraceContextTextMapPropagator().extract({"traceparent": parent})
    (found,) = context.values()
    inside = found.get_span_context()  # type: ignore[attr-defined]
    assert inside.trace_id.to_bytes(16, "big") == span.trace_id
    assert inside.span_id.to_bytes(8, "big") == span.span_id
    assert inside.trace_flags.sampled
