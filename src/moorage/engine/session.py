"""One client's Engine.IO session: outlives its transports, and knows nothing of sockets.

Who keeps the heartbeat depends on the app server's dialect: in azure it does, its `2` goes to the
client and the client's `3` back like any other packet; else the service (`hub.heartbeat`). So a
session here has no timer of its own.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from moorage.engine.peer import Answer, Forward, Left, SocketPeer
from moorage.engine.upgrade import State, Step, after
from moorage.wire.engineio import SEPARATOR, check_text, decode_client_binary
from moorage.wire.errors import PeerError
from moorage.wire.reasons import BAD_PACKET, PACKET_WHILE_OPENING, PAYLOAD_TOO_LARGE

_MESSAGE: Final = ord("4")
_PONG: Final = ord("3")
_CLOSE: Final = ord("1")
_IGNORED: Final = b"056"
"""Open, upgrade and noop mean nothing here. Some clients send a second `5`; socket.io ignores all three."""
_BINARY: Final = ord("b")
# Asked for each packet: with an enum's attributes and `==` it takes 0.1 us (of 0.7) longer.
_OPENING: Final = State.OPENING
_CLOSED: Final = State.CLOSED


class Closed(NamedTuple):
    """The client asked for the end (`1`)."""


CLOSED: Final = Closed()


class Pong(NamedTuple):
    """The client answered a ping."""


PONG: Final = Pong()

Event = Forward | Left | Answer | Closed | Pong | None


class EngineSession:
    """Feed packets in, take events out; `step` moves it through `upgrade.TRANSITIONS`."""

    __slots__ = ("max_payload", "peer", "state")

    def __init__(self, max_payload: int, max_attachments: int, max_namespaces: int) -> None:
        self.state = State.OPENING
        self.max_payload = max_payload
        self.peer = SocketPeer(max_attachments, max_namespaces)

    def step(self, step: Step) -> bool:
        """Make a transition; False (and nothing changed) where the table has none."""
        state = after(self.state, step)
        if state is None:
            return False
        self.state = state
        return True

    @property
    def is_open(self) -> bool:
        """Accepted and not ended."""
        return State.OPENING < self.state < State.CLOSED

    def receive(self, packet: bytes) -> Event:
        """One packet in text form, from either transport. Raises `PeerError`."""
        state = self.state
        if state is _OPENING or state is _CLOSED or len(packet) > self.max_payload:
            self._refuse()
            return None
        kind = packet[0] if packet else 0
        if kind == _MESSAGE:
            if SEPARATOR in packet:
                # One WebSocket message is one packet. App servers split what they get at 0x1e: the
                # rest would reach them as packets that were never looked at here.
                raise PeerError(BAD_PACKET, "a packet with a separator in it")
            return self.peer.message(check_text(packet))
        if kind == _PONG:
            # Whatever stands behind it: data has no meaning here.
            return PONG
        if kind == _BINARY:
            return self.peer.binary(decode_client_binary(packet))
        if kind == _CLOSE:
            return CLOSED
        if kind in _IGNORED:
            return None
        raise PeerError(BAD_PACKET, "type" if packet else "empty")

    def receive_binary(self, data: bytes) -> Event:
        """One binary WebSocket message. Raises `PeerError`."""
        state = self.state
        if state is _OPENING or state is _CLOSED or len(data) > self.max_payload:
            self._refuse()
            return None
        return self.peer.binary(data)

    def _refuse(self) -> None:
        if self.state is _OPENING:
            raise PeerError(PACKET_WHILE_OPENING)
        if self.state is not _CLOSED:
            raise PeerError(PAYLOAD_TOO_LARGE, f"at most {self.max_payload} bytes")
        # After the end nobody is to blame: these bytes came in one piece with the packet that
        # ended the session. The app server has heard of the end, so nothing may follow it there.
