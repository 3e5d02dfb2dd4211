"""A real part for the hub's observer port."""

from __future__ import annotations

from moorage.hub.hub import Connection
from moorage.hub.ports import Who
from moorage.wire.errors import PeerError
from moorage.wire.handshake import Handshake
from moorage.wire.reasons import Reason


class RecordingObserver:
    """`ports.Observer` that keeps what it is told, and checks the order."""

    def __init__(self) -> None:
        self.opens: list[tuple[str, str]] = []
        """Connection, transport."""
        self.refusals: list[tuple[str, str]] = []
        """Hub, reason's name."""
        self.sockets: set[tuple[Connection, str]] = set()
        self.closes: list[tuple[str, str, Who, str, float, int]] = []
        """Connection, reason's name, who, detail, age, bytes queued."""
        self._open: set[Connection] = set()

    def opened(self, connection: Connection, transport: str) -> None:
        assert connection not in self._open
        self._open.add(connection)
        self.opens.append((connection.id, transport))

    def refused(self, hub: str, handshake: Handshake, error: PeerError) -> None:
        self.refusals.append((hub, error.reason.name))

    def joined(self, connection: Connection, namespace: str) -> None:
        assert connection in self._open
        assert (connection, namespace) not in self.sockets
        self.sockets.add((connection, namespace))

    def left(self, connection: Connection, namespace: str) -> None:
        self.sockets.remove((connection, namespace))

    def closed(
        self, connection: Connection, reason: Reason, *, who: Who, detail: str, age: float, queued: int
    ) -> None:
        assert connection not in {one for one, _ in self.sockets}
        self._open.remove(connection)
        self.closes.append((connection.id, reason.name, who, detail, age, queued))
