"""Stands before the node's observer while somebody watches."""

from __future__ import annotations

from typing import Any, Protocol

from moorage.hub.hub import Connection
from moorage.hub.ports import Observer, Who
from moorage.hub.trace.describe import clean
from moorage.wire.errors import PeerError
from moorage.wire.handshake import Handshake
from moorage.wire.reasons import Reason


class Told(Protocol):
    """Is told what the observer is told (`hub.trace.tracer.Tracer`)."""

    def opened(self, connection: Connection, transport: str) -> None:
        """`Observer.opened`."""

    def refused(self, hub: str, user: str | None, error: PeerError) -> None:
        """`Observer.refused`."""

    def socket(self, connection: Connection, namespace: str, *, joined: bool) -> None:
        """`Observer.joined` and `Observer.left`."""

    def closed(self, connection: Connection, **how: Any) -> None:
        """`Observer.closed`."""


class TracedObserver:
    """`hub.ports.Observer`: the `plain` one, and the tracer."""

    def __init__(self, plain: Observer[Connection], told: Told) -> None:
        self.plain = plain
        self._told = told

    def opened(self, connection: Connection, transport: str) -> None:
        """`Observer.opened`."""
        self.plain.opened(connection, transport)
        self._told.opened(connection, transport)

    def refused(self, hub: str, handshake: Handshake, error: PeerError) -> None:
        """`Observer.refused`."""
        self.plain.refused(hub, handshake, error)
        self._told.refused(hub, handshake.user_id, error)

    def joined(self, connection: Connection, namespace: str) -> None:
        """`Observer.joined`."""
        self.plain.joined(connection, namespace)
        self._told.socket(connection, namespace, joined=True)

    def left(self, connection: Connection, namespace: str) -> None:
        """`Observer.left`."""
        self.plain.left(connection, namespace)
        self._told.socket(connection, namespace, joined=False)

    def closed(
        self, connection: Connection, reason: Reason, *, who: Who, detail: str, age: float, queued: int
    ) -> None:
        """`Observer.closed`."""
        self.plain.closed(connection, reason, who=who, detail=detail, age=age, queued=queued)
        self._told.closed(
            connection,
            reason=reason.name,
            number=reason.number,
            who=who,
            detail=clean(detail),
            age=age,
            queued=queued,
        )
