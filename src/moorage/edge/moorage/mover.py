"""An app server of the moorage dialect whose clients can move: `hub.ports.AppMover`."""

from __future__ import annotations

from typing import Final, Protocol

from moorage.edge.moorage.numbered import Numbered
from moorage.edge.moorage.pressure import Pressure
from moorage.hub.handover.sockets import Made
from moorage.hub.hub import Connection
from moorage.wire.moorage import v1
from moorage.wire.reasons import CONNECT_TIMEOUT, Reason

REVISION: Final = 5
"""From this revision of the link protocol on app servers can give and take clients."""


class Session(Protocol):
    """The session of the app server."""

    numbered: Numbered
    openings: dict[int, float]

    def queue(self, frame: v1.FromService) -> None:
        """Send a frame."""

    def tell_closed(self, number: int, reason: Reason) -> None:
        """Tell the app server that client `number` is gone."""

    def next_number(self) -> int:
        """A new number, for a client that is offered now."""


class Mover:
    """See the module's text. A channel is the client's number."""

    def __init__(self, session: Session, pressure: Pressure) -> None:
        self._session = session
        self._pressure = pressure

    def freeze(self, channel: object) -> None:
        """`AppMover.freeze`."""
        assert isinstance(channel, int)
        self._session.queue(v1.Freeze(channel))

    def adopt(self, connection: Connection, sockets: tuple[Made, ...]) -> int:
        """`AppMover.adopt`."""
        session = self._session
        number = session.next_number()
        # It may send to the client at once.
        session.numbered.add(number, connection)
        session.queue(
            v1.Adopt(
                number,
                connection.id,
                connection.user_id,
                bytes(connection.handshake),
                "websocket" if connection.outbox.framed else "polling",
                tuple(v1.Arriving(*one) for one in sockets),
            )
        )
        return number

    def withdraw(self, channel: object) -> None:
        """`AppMover.withdraw`."""
        assert isinstance(channel, int)
        self._session.openings.pop(channel, None)
        if self._session.numbered.pop(channel) is not None:
            self._session.tell_closed(channel, CONNECT_TIMEOUT)

    def released(self, channel: object) -> None:
        """`AppMover.released`."""
        assert isinstance(channel, int)
        client = self._session.numbered.release(channel)
        if client is not None:
            self._pressure.forget(client)
            self._session.queue(v1.Released(channel))

    def resume(self, channel: object) -> None:
        """`AppMover.resume`."""
        assert isinstance(channel, int)
        self._session.queue(v1.Resume(channel))
