"""A WebSocket whose owner is another node. This node connects the two TCP connections and reads nothing of
what they carry. If one side does not take its data, the other side is not read."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Final, cast

STUCK_SECONDS: Final = 10.0
"""A side that does not take its last bytes for this long is cut off."""

_KEEP_ALIVE: Final = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    *(
        (socket.IPPROTO_TCP, getattr(socket, name), value)
        for name, value in (("TCP_KEEPIDLE", 15), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3))
        if hasattr(socket, name)
    ),
)
"""An owner whose machine has gone is noticed within 30 s, however long the client is idle."""


class Side(asyncio.Protocol):
    """One of the two TCP connections. What is read from it is written to the other one."""

    __slots__ = ("_ended", "closing_since", "other", "transport")

    def __init__(self, ended: Callable[[Side], None]) -> None:
        self._ended = ended
        self.closing_since: float | None = None
        self.other: Side | None = None
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The TCP connection is there."""
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Pass it on."""
        if self.other is not None:
            self.other.transport.write(data)

    def pause_writing(self) -> None:
        """This side takes no more for now."""
        if self.other is not None and not self.other.transport.is_closing():
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        """This side takes data again."""
        if self.other is not None and not self.other.transport.is_closing():
            self.other.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """One side is gone. The other one still gets what was read before."""
        other, self.other = self.other, None
        if other is not None:
            other.close()
        self._ended(self)

    def close(self) -> None:
        """Close when everything is written."""
        if not self.transport.is_closing():
            self.closing_since = asyncio.get_running_loop().time()
            self.transport.close()

    def check(self, now: float) -> None:
        """Cut off a side that does not take its last bytes."""
        if self.closing_since is not None and now - self.closing_since > STUCK_SECONDS:
            self.transport.abort()


def join(client: asyncio.Transport, owner: Side, ended: Callable[[Side], None]) -> Side:
    """Connect the client's TCP connection, which is not read at the moment, with the owner's."""
    side = Side(ended)
    side.other, owner.other = owner, side
    side.connection_made(client)
    client.set_protocol(side)
    if not client.is_closing() and not client.is_reading():
        client.resume_reading()
    return side


def keep_alive(transport: asyncio.BaseTransport) -> None:
    """Let the kernel check whether the peer's machine is still there."""
    sock = transport.get_extra_info("socket")
    for option in _KEEP_ALIVE:
        sock.setsockopt(*option)
