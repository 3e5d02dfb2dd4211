"""Several observers of clients in the place of one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from moorage.hub.hub import Connection
from moorage.hub.ports import Observer, Who
from moorage.wire.errors import PeerError
from moorage.wire.handshake import Handshake
from moorage.wire.reasons import Reason


class Uninterested:
    """Base of observers that need not know everything. A method that they inherit is never called, because
    each connect would pay for it."""

    def opened(self, connection: Connection, transport: str) -> None:
        """Ignored."""

    def refused(self, hub: str, handshake: Handshake, error: PeerError) -> None:
        """Ignored."""

    def joined(self, connection: Connection, namespace: str) -> None:
        """Ignored."""

    def left(self, connection: Connection, namespace: str) -> None:
        """Ignored."""


class Observers:
    """`hub.ports.Observer` that tells others, in their order."""

    def __init__(self, *observers: Observer[Connection]) -> None:
        self._observers = observers
        self._opened, self._refused, self._joined, self._left = (
            _interested(observers, name) for name in ("opened", "refused", "joined", "left")
        )

    def opened(self, connection: Connection, transport: str) -> None:
        """`Observer.opened`, and so on."""
        for opened in self._opened:
            opened(connection, transport)

    def refused(self, hub: str, handshake: Handshake, error: PeerError) -> None:
        """As in the port."""
        for refused in self._refused:
            refused(hub, handshake, error)

    def joined(self, connection: Connection, namespace: str) -> None:
        """As in the port."""
        for joined in self._joined:
            joined(connection, namespace)

    def left(self, connection: Connection, namespace: str) -> None:
        """As in the port."""
        for left in self._left:
            left(connection, namespace)

    def closed(
        self, connection: Connection, reason: Reason, *, who: Who, detail: str, age: float, queued: int
    ) -> None:
        """As in the port."""
        for observer in self._observers:
            observer.closed(connection, reason, who=who, detail=detail, age=age, queued=queued)


def _interested(observers: tuple[Observer[Connection], ...], name: str) -> tuple[Callable[..., None], ...]:
    """The method `name` of those who do not inherit it."""
    ignored: Any = getattr(Uninterested, name)
    return tuple(getattr(each, name) for each in observers if getattr(type(each), name) is not ignored)
