"""Spans of sampled events. The decision to sample is made before, so that events that are not sampled cost
nothing here.

A span is described and encoded when its batch is sent. The tracer of the SDK would lock, copy and check its
attributes one by one, for spans that anybody may change at any time."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, TraceFlags

from moorage import __version__
from moorage.otel import encoding
from moorage.otel.batches import Batches
from moorage.otel.encoding import Ids

SCOPE: Final = "moorage"
_SAMPLED: Final = SpanContext(1, 1, is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED))
_ERRORS: Final = {
    "failed": "the handler failed",
    "lost": "the app server was lost",
    "timeout": "the app server did not say that the event was handled",
}


Describe = Callable[[], tuple[str, Mapping[str, str | int]]]
"""Returns the event's name and its attributes."""


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

    def send(self, spans: Iterable[bytes]) -> None:
        """Send encoded spans. The base logs failures."""
        # The base has no public way for bytes. A test sends to a receiver, and the version is pinned.
        self._client.export(encoding.request(self._resource, self._scope, spans))

    def shutdown(self) -> None:
        """End the attempts that are under way. May be called again: the base would log a warning."""
        if not self._ended:
            self._ended = True
            self._client.shutdown()


class OtelSpan:
    """The span of one event."""

    __slots__ = ("_describe", "_end", "_ids", "_outcome", "_spans", "_start", "parent", "state")

    def __init__(self, spans: OtelSpans, describe: Describe) -> None:
        self._spans = spans
        self._describe = describe
        self._ids = Ids(random.getrandbits(128) or 1, random.getrandbits(64) or 1)
        self._outcome = ""
        self._start = self._end = time.time_ns()
        self.parent = f"00-{self._ids.trace:032x}-{self._ids.span:016x}-01"
        self.state = ""

    def end(self, outcome: str) -> None:
        """End it. `outcome`: `handled`, or what went wrong."""
        self._end = time.time_ns()
        self._outcome = outcome
        self._spans.batches.add(self)

    def encoded(self) -> bytes:
        """The span as bytes (`batches.Finished`). Called after its end."""
        event, own = self._describe()
        attributes = self._spans.shared + encoding.attributes({**own, "moorage.outcome": self._outcome})
        error = _ERRORS.get(self._outcome, "")
        return encoding.span(self._ids, f"receive {event}", self._start, self._end, attributes, error)


class OtelSpans:
    """Makes the spans; `edge.moorage.tracing.Spans`."""

    def __init__(self, batches: Batches, ratio: float, shared: bytes = b"") -> None:
        self.ratio = ratio
        self.batches = batches
        self.shared = shared
        """Encoded attributes that all spans have."""

    def sharing(self, attributes: Mapping[str, str | int]) -> OtelSpans:
        """The same for spans that all have these attributes, which are then encoded once."""
        return OtelSpans(self.batches, self.ratio, self.shared + encoding.attributes(attributes))

    def begin(self, describe: Describe) -> OtelSpan:
        """Begin the span of a sampled event, which is the first of its trace. `describe` is called when it is
        sent, on another thread."""
        return OtelSpan(self, describe)
