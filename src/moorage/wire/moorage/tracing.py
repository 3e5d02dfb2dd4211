"""The frames that carry a trace of OpenTelemetry across a link. Revision 6 of `moorage.v1`."""

from __future__ import annotations

from moorage.wire.moorage.rows import Count, Fields

# --- from the service ----------------------------------------------------------------------------


class Trace(Fields, tag=80):
    """The next `Packet` of this client is an event of a sampled trace. Sent to app servers that said `traces`
    in their hello. Answered by `Traced` once the event is handled."""

    ref: Count
    client: Count
    parent: str
    """The W3C `traceparent` of the service's span."""
    state: str = ""
    """The W3C `tracestate`."""


# --- from the app server -------------------------------------------------------------------------


class Traced(Fields, tag=81):
    """The event of `Trace` is handled: its handler has ended, or its ack was queued before this frame."""

    ref: Count
    failed: bool = False
