"""Spans in the protobuf form of OTLP (`opentelemetry/proto/trace/v1/trace.proto`). Pure.

The exporter's own encoder makes an object of each attribute and takes 40 us for a span. Sampling one event in
a hundred would then cost as much as everything else that sampling does."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final, NamedTuple

_TIMES: Final = struct.Struct("<BQBQ")
_START: Final = 0x39
_END: Final = 0x41
"""Tags of `start_time_unix_nano` and `end_time_unix_nano`."""
_KIND: Final = b"\x30\x02"
"""`kind`: SPAN_KIND_SERVER."""
_FLAGS: Final = b"\x85\x01\x00\x01\x00\x00"
"""`flags`: it is known that the parent is not remote."""
_NAME, _ATTRIBUTES, _STATUS = 5, 9, 15
_ERROR: Final = b"\x18\x02"
"""`Status.code`: STATUS_CODE_ERROR."""


class Ids(NamedTuple):
    """The numbers of a trace and of a span in it, neither of them 0."""

    trace: int
    span: int


def request(resource: bytes, scope: bytes, spans: Iterable[bytes]) -> bytes:
    """An `ExportTraceServiceRequest` with what `span` has made, of one encoded `Resource` and one
    `InstrumentationScope`."""
    inner = _field(1, scope) + b"".join(spans)
    return _field(1, _field(1, resource) + _field(2, inner))


def span(ids: Ids, name: str, start: int, end: int, encoded: bytes, error: str = "") -> bytes:
    """A server's span without a parent, as an element of `ScopeSpans.spans`. Times are in nanoseconds since
    the epoch. `encoded`: what `attributes` has made. `error`: why it failed; empty if it did not."""
    status = _field(_STATUS, _field(2, _text(error)) + _ERROR) if error else b""
    body = b"".join(
        (
            b"\x0a\x10",
            ids.trace.to_bytes(16, "big"),
            b"\x12\x08",
            ids.span.to_bytes(8, "big"),
            _field(_NAME, _text(name)),
            _KIND,
            _TIMES.pack(_START, start, _END, end),
            encoded,
            status,
            _FLAGS,
        )
    )
    return _field(2, body)


def attributes(given: Mapping[str, str | int]) -> bytes:
    """Attributes of a span. Those of several calls may be joined."""
    return b"".join([_attribute(key, value) for key, value in given.items()])


# Most attributes of a span are those of earlier spans.
@lru_cache(maxsize=2048)
def _attribute(key: str, value: str | int) -> bytes:
    # A negative number would need ten bytes in this form; there is none.
    encoded = b"\x18" + _varint(value) if isinstance(value, int) else _field(1, _text(value))
    return _field(_ATTRIBUTES, _field(1, _text(key)) + _field(2, encoded))


def _text(text: str) -> bytes:
    return text.encode(errors="replace")


def _field(number: int, data: bytes) -> bytes:
    """A field with a length, of a number below 16."""
    return b"%c%b%b" % (number << 3 | 2, _varint(len(data)), data)


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
