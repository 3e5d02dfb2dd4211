"""One client's Engine.IO session. It outlives its transports and does no I/O. In the azure dialect the app
server runs the heartbeat: its `2` and the client's `3` are passed on like any other packet. In the moorage
dialect the service runs it (`hub.connections.heartbeat`). So a session has no timer."""

from __future__ import annotations

from typing import Final, NamedTuple

from moorage.engine.peer import Answer, Connect, Forward, Left, SocketPeer
from moorage.engine.upgrade import State, Step, after
from moorage.wire.engineio import WITHOUT_CONTROLS, check_text, decode_client_binary
from moorage.wire.errors import PeerError
from moorage.wire.reasons import BAD_PACKET, PACKET_WHILE_OPENING, PAYLOAD_TOO_LARGE

_MESSAGE: Final = ord("4")
_PONG: Final = ord("3")
_CLOSE: Final = ord("1")
_IGNORED: Final = b"056"
"""Open, upgrade and noop have no meaning here. Some clients send a second `5`; socket.io ignores it."""
_BINARY: Final = ord("b")
_CONTROL: Final = "a raw control character"
_OPENING: Final = State.OPENING
_CLOSED: Final = State.CLOSED


class Closed(NamedTuple):
    """The client closed the session (`1`)."""


CLOSED: Final = Closed()


class Pong(NamedTuple):
    """The client answered a ping."""


PONG: Final = Pong()

Event = Forward | Connect | Left | Answer | Closed | Pong | None


class EngineSession:
    """Turns received packets into events; `step` makes the transitions of `upgrade.TRANSITIONS`."""

    __slots__ = ("_most", "max_payload", "peer", "received", "state")

    def __init__(self, max_payload: int, max_attachments: int, max_namespaces: int) -> None:
        self.state = State.OPENING
        self.max_payload = max_payload
        """Set before the session opens."""
        self._most = -1
        """Bytes that a packet may have now: `max_payload`, or -1 while the session is not open."""
        self.received = 0
        """Packets of the client so far."""
        self.peer = SocketPeer(max_attachments, max_namespaces)

    def step(self, step: Step) -> bool:
        """Make a transition. Returns False and changes nothing if the table has none."""
        state = after(self.state, step)
        if state is None:
            return False
        self.state = state
        self._most = -1 if state is _CLOSED else self.max_payload
        return True

    def continue_from(self, former: EngineSession) -> None:
        """Take the place of `former`, whose limits are the same."""
        self.state, self._most = former.state, former._most
        self.peer, self.received = former.peer, former.received

    def receive(self, packet: bytes) -> Event:
        """Handle one packet in text form, from either transport. Raises `PeerError`."""
        if len(packet) > self._most:
            self._refuse()
            return None
        self.received += 1
        kind = packet[0] if packet else 0
        if kind == _MESSAGE:
            if packet.translate(WITHOUT_CONTROLS) != packet:
                raise PeerError(BAD_PACKET, _CONTROL)
            if not packet.isascii():
                check_text(packet)
            return self.peer.message(packet)
        if kind == _BINARY:
            return self.peer.binary(decode_client_binary(packet))
        if packet.translate(WITHOUT_CONTROLS) != packet:
            raise PeerError(BAD_PACKET, _CONTROL)
        if kind == _PONG:
            # Data after the type has no meaning.
            return PONG
        if kind == _CLOSE:
            return CLOSED
        if kind in _IGNORED:
            return None
        raise PeerError(BAD_PACKET, "unknown packet type" if packet else "empty packet")

    def receive_binary(self, data: bytes) -> Event:
        """Handle one binary WebSocket message. Raises `PeerError`."""
        if len(data) > self._most:
            self._refuse()
            return None
        self.received += 1
        return self.peer.binary(data)

    def _refuse(self) -> None:
        if self.state is _OPENING:
            raise PeerError(PACKET_WHILE_OPENING)
        if self.state is not _CLOSED:
            raise PeerError(PAYLOAD_TOO_LARGE, f"at most {self.max_payload} bytes")
        # Bytes after the end are not a fault: they arrived together with the packet that ended the
        # session. They are dropped, because the app server has been notified of the end.
