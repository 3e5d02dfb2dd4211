"""One client as the hub sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, SupportsBytes

from moorage.engine.session import EngineSession
from moorage.hub.outbox import Flusher, Outbox
from moorage.hub.settings import Limits
from moorage.wire.commands import Found

if TYPE_CHECKING:
    from moorage.hub.heartbeat import Heartbeat
    from moorage.hub.hub import Hub
    from moorage.hub.links import AppServer


LINK: Final = 1
BURST: Final = 2
"""Why a client is not read: its app server's link is full; it said very much at once."""


class Connection:
    """Slots, because an idle connection's memory is the service's first cost, and a `__dict__`
    would come on top for this object and each of its parts."""

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
        """Where the service keeps the heartbeat."""
        self.held = 0
        """Why it is not read now (`LINK`, `BURST`), 0 if it is."""
        self.channel: object | None = None
        """The link dialect's own state of this connection."""

    def on_websocket(self) -> None:
        """The outbox writes to a WebSocket from now on."""
        self.hub.websockets += 1

    def hold(self, why: int) -> bool:
        """Do not read it, on this transport or the next one (`Outbox.attach`). False if it has none yet."""
        sink = self.outbox.sink
        if sink is None:
            return False
        self.held |= why
        sink.pause_reading()
        return True

    def release(self, why: int) -> None:
        """This is no reason any more: read it, unless there is another one."""
        self.held &= ~why
        sink = self.outbox.sink
        if not self.held and sink is not None:
            sink.resume_reading()
