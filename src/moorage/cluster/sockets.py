"""The sockets of `FetchSockets` on their way between nodes."""

from __future__ import annotations

from collections.abc import Iterable

from moorage.wire.cluster.messages import Socket
from moorage.wire.commands import Found


def outgoing(found: Iterable[Found]) -> tuple[Socket, ...]:
    """Sockets of this node, as they travel."""
    return tuple(
        [
            Socket(one.id, one.connection, one.user, one.opened, one.rooms, bytes(one.handshake))
            for one in found
        ]
    )


def incoming(namespace: str, sockets: Iterable[Socket]) -> list[Found]:
    """Sockets of another node, as this node finds its own."""
    return [
        Found(namespace, one.id, one.connection, one.user, one.opened, one.rooms, one.handshake)
        for one in sockets
    ]
