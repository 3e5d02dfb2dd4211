"""Spans of sampled events. The decision to sample is made before, so that events that are not sampled cost
nothing here.

A span is encoded when it ends. The tracer of the SDK would lock, copy and check its attributes one by one,
for spans that anybody may change at any time."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from typing import Final, cast

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, TraceFlags

from moorage import __version__
from moorage.otel import encoding
from moorage.otel.encoding import Ids

SCOPE: Final = "moorage"
_SAMPLED: Final = SpanContext(1, 1, is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED))
_ERRORS: Final = {
    "failed": "the handler failed",
    "lost": "the app server was lost",
    "timeout": "the app server did not say that the event was handled",
}


class Encoded(ReadableSpan):
    """A finished span, as the batches of the SDK take it. They ask only whether it is sampled."""

    def __init__(self, data: bytes) -> None:
        # `super().__init__` is not called, because all fields of the span are in the bytes.
        self.data = data

    @property
    def context(self) -> SpanContext:
        """A sampled one, not its own."""
        return _SAMPLED


class Exporter(OTLPSpanExporter):
    """Sends encoded spans as the standard variables ask for: the base reads the endpoint, headers,
    certificates, compression and time-out from them."""

    def __init__(self, resource: Resource) -> None:
        super().__init__()
        self._ended = False
        empty = ReadableSpan(
            "", _SAMPLED, resource=resource, instrumentation_scope=InstrumentationScope(SCOPE, __version__)
        )
        (of_resource,) = encode_spans([empty]).resource_spans
        self._resource = of_resource.resource.SerializeToString()
        self._scope = of_resource.scope_spans[0].scope.SerializeToString()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send the spans. The base logs failures."""
        encoded = (cast(Encoded, span).data for span in spans)
        # The base has no public way for bytes. A test sends to a receiver, and the version is pinned.
        sent = self._client.export(encoding.request(self._resource, self._scope, encoded))
        return SpanExportResult.SUCCESS if sent.success else SpanExportResult.FAILURE

    def shutdown(self) -> None:
        """End the attempts that are under way. May be called again: the base would log a warning."""
        if not self._ended:
            self._ended = True
            self._client.shutdown()


class OtelSpan:
    """A span that is open."""

    __slots__ = ("_attributes", "_ids", "_name", "_spans", "_start", "parent", "state")

    def __init__(self, spans: OtelSpans, name: str, attributes: Mapping[str, str | int]) -> None:
        self._spans = spans
        self._name = name
        self._attributes = attributes
        self._ids = Ids(random.getrandbits(128) or 1, random.getrandbits(64) or 1)
        self._start = time.time_ns()
        self.parent = f"00-{self._ids.trace:032x}-{self._ids.span:016x}-01"
        self.state = ""

    def end(self, outcome: str) -> None:
        """End it. `outcome`: `handled`, or what went wrong."""
        own = {**self._attributes, "moorage.outcome": outcome}
        encoded = self._spans.shared + encoding.attributes(own)
        error = _ERRORS.get(outcome, "")
        data = encoding.span(self._ids, self._name, self._start, time.time_ns(), encoded, error)
        self._spans.processor.on_end(Encoded(data))


class OtelSpans:
    """Makes the spans; `edge.moorage.tracing.Spans`."""

    def __init__(self, processor: SpanProcessor, ratio: float, shared: bytes = b"") -> None:
        self.ratio = ratio
        self.processor = processor
        self.shared = shared
        """Encoded attributes that all spans have."""

    def sharing(self, attributes: Mapping[str, str | int]) -> OtelSpans:
        """The same for spans that all have these attributes, which are then encoded once."""
        return OtelSpans(self.processor, self.ratio, self.shared + encoding.attributes(attributes))

    def begin(self, event: str, attributes: Mapping[str, str | int]) -> OtelSpan:
        """Begin the span of a sampled event, which is the first of its trace."""
        return OtelSpan(self, f"receive {event}", attributes)
