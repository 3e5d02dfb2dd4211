"""The frames by which an app server gives its clients away."""

from __future__ import annotations

from functools import partial
from typing import Final

from moorage import logs
from moorage.edge.moorage.server import MoorageServer
from moorage.hub.handover.move import Move
from moorage.hub.handover.sockets import Left
from moorage.wire.moorage import v1

MAX_MISSING: Final = 10_000
"""Maximum number of clients that an answer names."""

log: Final = logs.get("link")


class HandOverFrames:
    """Handles these frames for one session."""

    def __init__(self, server: MoorageServer) -> None:
        self._server = server

    def hand_over(self, frame: v1.HandOver) -> None:
        """Move all clients of the app server to others. Raises `PeerError` if they are moving already."""
        server = self._server
        log.info("app server hands over", hub=server.hub.name, server=server.app.id, clients=server.app.load)
        server.node.handovers.begin(server.hub, server.app, partial(self._done, frame.ref))

    def _done(self, ref: int, count: int, missing: tuple[str, ...]) -> None:
        server = self._server
        names = {"hub": server.hub.name, "server": server.app.id}
        log.info("app server has handed over", **names, clients=count, missing=len(missing))
        server.queue(v1.Done(ref, count, missing[:MAX_MISSING]))

    def state(self, frame: v1.State) -> None:
        """The app server's last state of a client. It is ignored if the client is gone, or has been given
        back."""
        client = self._server.numbered.get(frame.client)
        move = None if client is None else client.channel
        if isinstance(move, Move) and move.former is self._server.app:
            move.left(
                Left(one.namespace, one.sid, one.data, one.acks, frozenset(one.pending))
                for one in frame.sockets
            )
