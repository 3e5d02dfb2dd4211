"""What the nodes of a cluster tell each other about traces: what to watch, and what was seen. Declarations
only.

A node watches for another one until the lease ends or the other node leaves. The node that asks repeats
`Watch` before the lease is over."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from moorage.wire.moorage.rows import Count, Fields
from moorage.wire.trace.scope import Scope
from moorage.wire.trace.seen import Seen

WatchId = Annotated[str, Meta(max_length=64)]


class Watch(Fields, tag=150):
    """The receiver watches for the sender, for `lease` seconds from now on."""

    id: WatchId
    scope: Scope
    lease: Annotated[float, Meta(ge=0, le=3600)]


class Unwatch(Fields, tag=151):
    """The sender does not need a watch any more."""

    id: WatchId


class Traced(Fields, tag=152):
    """What one node has seen for a watch since its last message."""

    id: WatchId
    node: Annotated[str, Meta(max_length=64)]
    """The name of that node."""
    events: tuple[Seen, ...]
    dropped: Count
    """Packets that are missing here, because a bound was reached."""
    connections: Count
    """Number of connections that the node watches."""
    limited: bool
    """True if more connections match than one node watches."""


Tracing = Watch | Unwatch | Traced
