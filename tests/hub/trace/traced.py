"""A node with a tracer, and short forms of what was seen."""

from __future__ import annotations

from typing import Any

from moorage.engine.session import EngineSession
from moorage.hub.hub import Connection
from moorage.hub.trace.tracer import Tracer
from moorage.wire.trace.scope import Scope
from moorage.wire.trace.seen import Packet, Seen, State
from tests.hub.fakes import World

WALL = 1_700_000_000.0


class Traced(World):
    """The wall clock is the node's, which begins at 1,000, and `WALL`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.tracer = Tracer(self.node, lambda: WALL + self.now)

    def watch(self, watch_id: str = "w", **scope: Any) -> None:
        """Begin a watch."""
        self.tracer.start(watch_id, Scope(**scope))
        self.settle()

    def seen(self, watch_id: str = "w") -> list[Seen]:
        """All events since the last call."""
        self.tracer.tick()
        self.settle()
        taken = self.tracer.take(watch_id)
        assert not taken.dropped
        return list(taken.events)

    def short(self, watch_id: str = "w") -> list[tuple[object, ...]]:
        """The same in short: direction, type and event; or state, namespace and room."""
        return [short(seen) for seen in self.seen(watch_id)]


def short(seen: Seen) -> tuple[object, ...]:
    """An event in short."""
    if isinstance(seen, Packet):
        return seen.direction, seen.type, seen.event
    assert isinstance(seen, State)
    return tuple(part for part in (seen.state, seen.namespace, seen.room, seen.reason) if part)


def is_plain(connection: Connection) -> bool:
    """True if nothing of a connection is replaced."""
    return type(connection.session) is EngineSession and type(connection.groups) is set
