"""The outgoing side of one link in the azure dialect, and the way of one client's events through it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from moorage.engine.exchange import Unsent
from moorage.hub.hub import Client
from moorage.hub.ports import Drained
from moorage.metrics.metrics import Metrics
from moorage.wire.azure.cloudevents import identity_of
from moorage.wire.engineio import RS, binary_frame
from moorage.wire.reasons import LINK_SLOW, Reason

MAX_BATCH: Final = 256 * 1024
"""Bytes of client packets that are joined into one event."""
MAX_GATHERED: Final = 4 * 1024 * 1024
"""Bytes of all clients' packets in one loop tick above which clients are held back."""


class Tunnel:
    """One link's outgoing side. Its frames are gathered during a loop tick and written together. `write` and
    `close` belong to the WebSocket below. While it takes no data, frames wait here, up to `limit` bytes."""

    __slots__ = (
        "_close",
        "_limit",
        "_metrics",
        "_out",
        "_size",
        "_write",
        "channels",
        "congested",
        "gather_at_most",
        "gathered",
        "held_back",
        "id",
        "open",
    )

    def __init__(
        self,
        tunnel_id: str,
        *,
        write: Callable[[bytes], None],
        close: Callable[[Reason], None],
        limit: int,
        metrics: Metrics,
    ) -> None:
        self.id = tunnel_id
        self.channels: set[Channel] = set()
        self.congested = False
        """True while the WebSocket takes no data."""
        self.gathered = 0
        """Bytes in the inboxes of `channels`."""
        self.held_back = False
        """True while all clients of this link are held back."""
        self.gather_at_most = min(MAX_GATHERED, limit // 4)
        self.open = True
        self._write = write
        self._close = close
        self._limit = limit
        self._metrics = metrics
        self._out: list[bytes] = []
        self._size = 0

    @property
    def crowded(self) -> bool:
        """True if no client may add to what waits. This is far below the limit, because more is under way."""
        return self._size + self.gathered > self._limit // 4

    def queue(self, frame: bytes) -> None:
        """Queue one tunnel frame for the next `flush`."""
        if not self.open:
            return
        framed = binary_frame(frame)
        self._out.append(framed)
        self._size = size = self._size + len(framed)
        if size > self._limit:
            self.flush()
            if self._size > self._limit:
                self.close(LINK_SLOW)

    def flush(self) -> None:
        """Write what waits, if the app server reads."""
        if self._out and not self.congested and self.open:
            out, self._out = self._out, []
            metrics = self._metrics
            metrics.link_frames_sent += len(out)
            metrics.link_bytes_sent += self._size
            self._size = 0
            self._write(out[0] if len(out) == 1 else b"".join(out))

    def close(self, reason: Reason) -> None:
        """End this link. The app server's SDK opens another one."""
        if self.open:
            self.open = False
            self._out.clear()
            self._size = 0
            self._close(reason)


def joined(packets: list[bytes]) -> list[bytes]:
    """The bodies of events for one client's packets: one, unless they are large."""
    return [RS.join(packets)] if packets and sum(map(len, packets)) <= MAX_BATCH else packets


class Channel:
    """The ordered events of one client. The SDK handles the frames of one tunnel in order, but those of two
    tunnels concurrently. So a channel stays on one tunnel until that breaks."""

    __slots__ = (
        "closing",
        "connection",
        "held",
        "identity",
        "inbox",
        "stranded",
        "tunnel",
        "unanswered",
        "waiters",
    )

    def __init__(self, connection: Client) -> None:
        self.connection = connection
        self.identity = identity_of(connection.id, connection.user_id)
        self.tunnel: Tunnel | None = None
        self.inbox: list[bytes] = []
        """Packets of this loop tick. They are sent as one event."""
        self.held: Unsent | None = None
        """Packets that wait, because no tunnel is open or older ones are stranded."""
        self.stranded: dict[int, bytes] | None = None
        """Unanswered events of a broken tunnel, by AckId."""
        self.unanswered = 0
        self.closing: float | None = None
        """Set when the client is gone: the latest time to send `disconnected`."""
        self.waiters: list[Drained] | None = None

    @property
    def idle(self) -> bool:
        """True if the app server has answered everything."""
        return not (self.unanswered or self.inbox or self.held or self.stranded)

    def pin(self, tunnel: Tunnel | None) -> None:
        """Use `tunnel` from now on."""
        if self.tunnel is not None:
            self.tunnel.channels.discard(self)
        self.tunnel = tunnel
        if tunnel is not None:
            tunnel.channels.add(self)

    def end(self) -> None:
        """The app server knows of the end. Unlinks channel and connection, which would otherwise keep each
        other alive until a garbage collection."""
        self.pin(None)
        self.connection.channel = None
