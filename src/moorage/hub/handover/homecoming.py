"""One client that has come back with quiet recovery, while its socket objects live on at another app server
of this node than the one that was chosen for the new connection. The sockets' app server is offered the
connection, which has no sockets yet. When it has accepted, the client's claims are carried out.

If it does not accept, the client stays where it is, and its sockets come back to it, but not quietly."""

from __future__ import annotations

from moorage.hub.handover.move import Move, Note, Owner
from moorage.hub.hub import Connection
from moorage.wire.reasons import RETURNED


class Homecoming(Move):
    """See the module's text. The app server that was chosen for the connection knows no sockets of it, so it
    is not frozen first. It is told the connection's end instead of a release."""

    __slots__ = ()

    def __init__(self, connection: Connection, owner: Owner, *, now: float) -> None:
        super().__init__(connection, owner, acks=0, now=now)
        self._left = ()
        self._stop_reading()

    def claim(self, claim: Note) -> None:
        """Carry out a claim of the client when an app server has it, between what it has sent before and
        after."""
        self._note(claim)

    def release_former(self) -> None:
        """The app server that was chosen for the connection may forget it."""
        self._released = True
        self.connection.channel = self._former_channel
        self.former.link.closed(self.connection, RETURNED)
        self.connection.channel = self

    def refused(self) -> None:
        """The sockets' app server does not take the connection."""
        former = self.former
        if self._end is None and former.up and former in self.connection.hub.servers:
            self.resume()
        else:
            super().refused()

    def _tell_to_go_on(self) -> None:
        """Nothing was said to the former app server."""
