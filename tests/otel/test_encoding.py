"""Spans in the form of OTLP, against the encoder and the messages of OpenTelemetry."""

from __future__ import annotations

import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode

from moorage.otel.encoding import Ids, attributes, request, span

IDS = Ids(0x0102030405060708090A0B0C0D0E0F10, 0xF1F2F3F4F5F6F7F8)
ATTRIBUTES: list[dict[str, str | int]] = [
    {},
    {"moorage.hub": "app", "moorage.event": "", "moorage.user": "ädä 😀", "long": "x" * 300},
    {"zero": 0, "size": 127, "more": 128, "most": 2**62},
]
RESOURCE = Resource({"service.name": "moorage", "n": 3})
SCOPE = InstrumentationScope("moorage", "1.2.3")


def theirs(given: dict[str, str | int], error: str) -> ReadableSpan:
    return ReadableSpan(
        "receive chat",
        SpanContext(IDS.trace, IDS.span, is_remote=False),
        resource=RESOURCE,
        attributes=given,
        kind=SpanKind.SERVER,
        status=Status(StatusCode.ERROR, error) if error else Status(StatusCode.UNSET),
        start_time=1_700_000_000_000_000_001,
        end_time=1_700_000_000_000_000_777,
        instrumentation_scope=SCOPE,
    )


@pytest.mark.parametrize("error", ["", "the handler failed"])
def test_it_reads_as_what_their_encoder_makes(error: str) -> None:
    expected = encode_spans([theirs(given, error) for given in ATTRIBUTES])
    (of_resource,) = expected.resource_spans
    (of_scope,) = of_resource.scope_spans
    made = [
        span(
            IDS,
            "receive chat",
            1_700_000_000_000_000_001,
            1_700_000_000_000_000_777,
            attributes(given),
            error,
        )
        for given in ATTRIBUTES
    ]
    sent = request(of_resource.resource.SerializeToString(), of_scope.scope.SerializeToString(), made)
    if not error:
        # Theirs has an empty status, which means the same as none.
        for one in of_scope.spans:
            one.ClearField("status")
    assert ExportTraceServiceRequest.FromString(sent) == expected


def test_half_a_character_does_not_stop_an_export() -> None:
    sent = request(b"", b"", [span(IDS, "\ud800", 1, 2, attributes({"moorage.event": "\udfff"}))])
    (found,) = ExportTraceServiceRequest.FromString(sent).resource_spans[0].scope_spans[0].spans
    assert (found.name, found.attributes[0].value.string_value) == ("?", "?")
