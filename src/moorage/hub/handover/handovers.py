"""The moves of all hubs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial

from moorage.hub.handover.move import Move, Note
from moorage.hub.handover.moves import Disconnect, Done, Moves
from moorage.hub.hub import AppServer, Connection, Hub
from moorage.hub.ports import Later


class Handovers:
    """`moves_on_loss` tells of a hub's name whether the clients of a lost app server move, too."""

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        later: Later,
        opening: Callable[[Connection], bool],
        disconnect: Disconnect,
        read_on: Callable[[Connection], object],
        moves_on_loss: Callable[[str], bool],
    ) -> None:
        self.counts: Counter[str] = Counter(moved=0, resumed=0, gone=0)
        """How many moves have ended in which way."""
        self.hold = 30.0
        """Seconds that a client may be without an app server."""
        self._moves_on_loss = moves_on_loss
        self._make = partial(
            Moves,
            clock=clock,
            later=later,
            opening=opening,
            disconnect=disconnect,
            read_on=read_on,
            counts=self.counts,
        )
        self._hubs: dict[Hub, Moves] = {}

    def _of(self, hub: Hub) -> Moves:
        moves = self._hubs.get(hub)
        if moves is None:
            moves = self._hubs[hub] = self._make(hub, hold=self.hold)
        return moves

    def begin(self, hub: Hub, server: AppServer, done: Done) -> None:
        """All clients of an app server move. Raises `PeerError` if they do already."""
        self._of(hub).hand_over(server, done)

    def bring(self, connection: Connection, server: AppServer, claim: Note) -> None:
        """Ask the app server that has the client's socket objects to take the connection. `claim` is called
        with the app server that has it then."""
        self._of(connection.hub).bring(connection, server, claim)

    def app_servers_changed(self) -> None:
        """An app server may have come."""
        for moves in self._hubs.values():
            moves.app_servers_changed()

    def server_lost(self, hub: Hub, server: AppServer) -> None:
        """An app server is gone."""
        if hub in self._hubs:
            self._hubs[hub].server_lost(server)

    def keeps(self, connection: Connection, *, lost: bool) -> bool:
        """True if the client stays, although its app server is gone. `lost`: it did not leave by itself."""
        move = connection.channel
        if isinstance(move, Move) and not move.needs_former:
            return True
        if not (lost and connection.server.mover is not None and self._moves_on_loss(connection.hub.name)):
            return False
        self._of(connection.hub).lose(connection)
        return True

    def tick(self, now: float) -> None:
        """Check the deadlines."""
        for hub, moves in tuple(self._hubs.items()):
            moves.tick(now)
            if not len(moves):
                del self._hubs[hub]
