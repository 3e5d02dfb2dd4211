"""The connections of each hub in an order that allows pages. It exists only while there is an Admin API: an
entry costs some 60 bytes."""

from __future__ import annotations

from collections import Counter

from moorage.hub.hub import Connection
from moorage.hub.inspect.buckets import Buckets
from moorage.hub.observers import Uninterested
from moorage.hub.ports import Who
from moorage.wire.reasons import Reason


class Census(Uninterested):
    """`hub.ports.Observer` that counts and lists the clients of one node."""

    def __init__(self) -> None:
        self.hubs: dict[str, Buckets[Connection]] = {}
        """Connections by id, by the hub's name in lower case. A hub without connections has no entry."""
        self.sockets: Counter[str] = Counter()
        """Open sockets, by the hub's name in lower case."""

    def opened(self, connection: Connection, transport: str) -> None:
        """`Observer.opened`."""
        name = connection.hub.key
        roster = self.hubs.get(name)
        if roster is None:
            roster = self.hubs[name] = Buckets()
        roster.add(connection.id, connection)

    def joined(self, connection: Connection, namespace: str) -> None:
        """`Observer.joined`."""
        self.sockets[connection.hub.key] += 1

    def left(self, connection: Connection, namespace: str) -> None:
        """`Observer.left`."""
        self.sockets[connection.hub.key] -= 1

    def closed(
        self, connection: Connection, reason: Reason, *, who: Who, detail: str, age: float, queued: int
    ) -> None:
        """`Observer.closed`."""
        name = connection.hub.key
        roster = self.hubs[name]
        roster.remove(connection.id)
        if not len(roster):
            # Hubs come and go: keep no entry of one that is gone.
            del self.hubs[name]
            del self.sockets[name]
