"""Several observers of clients in the place of one."""

from __future__ import annotations

from moorage.hub.hub import Connection
from moorage.hub.ports import Observer, Who
from moorage.wire.errors import PeerError
from moorage.wire.handshake import Handshake
from moorage.wire.reasons import Reason


class Observers:
    """`hub.ports.Observer` that tells others, in their order."""

    def __init__(self, *observers: Observer[Connection]) -> None:
        self._observers = observers

    def opened(self, connection: Connection, transport: str) -> None:
        """`Observer.opened`, and so on."""
        for observer in self._observers:
            observer.opened(connection, transport)

    def refused(self, hub: str, handshake: Handshake, error: PeerError) -> None:
        """As in the port."""
        for observer in self._observers:
            observer.refused(hub, handshake, error)

    def joined(self, connection: Connection, namespace: str) -> None:
        """As in the port."""
        for observer in self._observers:
            observer.joined(connection, namespace)

    def left(self, connection: Connection, namespace: str) -> None:
        """As in the port."""
        for observer in self._observers:
            observer.left(connection, namespace)

    def closed(
        self, connection: Connection, reason: Reason, *, who: Who, detail: str, age: float, queued: int
    ) -> None:
        """As in the port."""
        for observer in self._observers:
            observer.closed(connection, reason, who=who, detail=detail, age=age, queued=queued)
