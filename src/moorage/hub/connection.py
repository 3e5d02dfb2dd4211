"""One client connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, SupportsBytes

from moorage.engine.session import EngineSession
from moorage.hub.outbox import Flusher, Outbox
from moorage.hub.settings import Limits
from moorage.wire.commands import Found

if TYPE_CHECKING:
    from moorage.hub.hub import Hub
    from moorage.hub.links import AppServer


LINK: Final = 1
BURST: Final = 2
"""Why a client is not read: its app server's link is full; the client sent too many packets at once."""

ANSWERED: Final = 0
WAITING: Final = 1
"""A ping was sent and its pong has not arrived."""
DOUBTED: Final = 2
"""The pong is overdue. The loop reads its sockets once more before the connection is closed."""


class Heartbeat:
    """The heartbeat of one connection. Times are in seconds."""

    __slots__ = ("deadline", "interval", "next", "owner", "state", "timeout")

    def __init__(self, owner: Connection, interval: float, timeout: float, now: float) -> None:
        self.owner: Connection | None = owner
        """None after the connection's end, so that the wheel keeps nothing of it alive."""
        self.interval = interval
        self.timeout = timeout
        self.next = now + interval
        """When the next ping is due."""
        self.state = ANSWERED
        self.deadline = 0.0
        """When the pong is overdue."""


class Connection:
    """It has slots because the memory of idle connections is the largest cost of the service; a `__dict__`
    would be added for this object and each of its parts."""

    __slots__ = (
        "__weakref__",
        "channel",
        "groups",
        "handshake",
        "heartbeat",
        "held",
        "hub",
        "id",
        "listed",
        "opened_at",
        "outbox",
        "server",
        "session",
        "user_id",
    )

    def __init__(
        self,
        connection_id: str,
        hub: Hub,
        *,
        user_id: str | None,
        server: AppServer,
        limits: Limits,
        flusher: Flusher,
        now: float,
    ) -> None:
        self.id = connection_id
        self.hub = hub
        self.user_id = user_id
        self.server = server
        self.session = EngineSession(limits.max_payload, limits.max_attachments, limits.max_namespaces)
        self.outbox = Outbox(self, flusher)
        self.groups: set[str] = set()
        self.opened_at = now
        self.handshake: SupportsBytes = b"{}"
        """JSON, as the app server got it, with at least `headers`, `query` and `claims`."""
        self.listed: Found | None = None
        """The socket that was fetched last. Cleared when the connection's groups change."""
        self.heartbeat: Heartbeat | None = None
        """Set if the service keeps the heartbeat."""
        self.held = 0
        """Why it is not read (`LINK`, `BURST`); 0 if it is read."""
        self.channel: object | None = None
        """State of this connection that belongs to the link dialect."""

    def on_websocket(self) -> None:
        """The outbox writes to a WebSocket from now on."""
        self.hub.websockets += 1

    def hold(self, why: int) -> bool:
        """Stop reading it, on this transport and the next one (`Outbox.attach`). False if it has none yet."""
        sink = self.outbox.sink
        if sink is None:
            return False
        self.held |= why
        sink.pause_reading()
        return True

    def release(self, why: int) -> None:
        """Remove one reason. Read the client if none is left."""
        self.held &= ~why
        sink = self.outbox.sink
        if not self.held and sink is not None:
            sink.resume_reading()
