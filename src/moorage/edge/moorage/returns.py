"""Connection state recovery on the link of one app server: `hub.ports.Returns`."""

from __future__ import annotations

from typing import Final

from moorage.edge.moorage.causes import cause_of
from moorage.edge.moorage.server import MoorageServer
from moorage.hub.hub import Client
from moorage.hub.ports import Recovered
from moorage.wire.moorage import v1
from moorage.wire.reasons import Reason

WITH_RECOVERY: Final = 5
"""Revision of the link protocol from which sockets may be recovered."""


class SessionReturns:
    """Tells the app server of clients that come back."""

    def __init__(self, server: MoorageServer) -> None:
        self._server = server

    def recover(self, connection: Client, socket: Recovered) -> None:
        """`Returns.recover`."""
        if isinstance(connection.channel, int):
            frame = v1.Recover(
                connection.channel, socket.namespace, socket.packet, socket.sid, socket.rooms, socket.data
            )
            self._server.queue(frame)

    def parked(self, connection: Client, reason: Reason) -> bool:
        """`Returns.parked`."""
        number = connection.channel
        if not isinstance(number, int):
            return False
        self._server.parked(connection)
        self._server.queue(v1.Parked(number, cause_of(reason)))
        return True

    def back(self, connection: Client, namespace: str, sid: str, former: Client) -> None:
        """`Returns.back`."""
        if isinstance(connection.channel, int) and isinstance(former.channel, int):
            self._server.queue(v1.Back(connection.channel, namespace, sid, former.channel))

    def save(self, frame: v1.Save) -> None:
        """The app server sends the data of a socket whose client is away."""
        server = self._server
        server.node.claims.save(server.hub, server.app, frame.namespace, frame.sid, frame.data)
