"""One Socket.IO client: what it has to send and to answer, whatever its transport is."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any, Final, Protocol

from moorage.load import packets
from moorage.load.packets import Dialect
from moorage.wire.errors import PeerError
from moorage.wire.socketio import parse_header

UNEXPECTED: Final = "unexpected packet: "


class State(Enum):
    """The life of a connection."""

    CLOSED = 0
    DIALING = 1
    """The transport is being opened, or the Engine.IO handshake is awaited."""
    JOINING = 2
    READY = 3


class Transport(Protocol):
    """Carries Engine.IO packets in text form. None of its methods waits."""

    def send(self, packet: bytes) -> None:
        """Send one packet."""

    def close(self) -> None:
        """End the connection as the protocol asks."""

    def abort(self) -> None:
        """Cut the TCP connections, without a farewell."""


class Listener(Protocol):
    """What happens to a client."""

    def ready(self, client: Client) -> None:
        """The client has joined its namespace."""

    def acked(self, client: Client, number: int, packet: bytes) -> None:
        """An ack has arrived for the event with this ack id."""

    def event(self, client: Client, packet: bytes) -> None:
        """An event has arrived."""

    def lost(self, client: Client, reason: str) -> None:
        """The connection is gone, without this side having asked for it, or could not be opened. `state` is
        still that of the moment before."""


class Client:
    """The state of one client. `data` belongs to the scenario."""

    __slots__ = (
        "_dialect",
        "_listener",
        "auth",
        "clock",
        "data",
        "dialed_at",
        "number",
        "offset",
        "pid",
        "pinged_at",
        "recovered",
        "sid",
        "silence",
        "state",
        "transport",
    )

    def __init__(
        self, number: int, dialect: Dialect, listener: Listener, clock: Callable[[], int], auth: Any = None
    ) -> None:
        self.number = number
        self.auth = packets.numbered(auth, number)
        self.state = State.CLOSED
        self.transport: Transport | None = None
        self.clock = clock
        """Nanoseconds of a monotonic clock."""
        self.sid = ""
        self.pid = ""
        self.offset = ""
        self.recovered = False
        """The server restored the state of the earlier connection at the last connect."""
        self.dialed_at = 0
        self.pinged_at = 0
        self.silence = 0
        """Nanoseconds without a ping after which the server counts as gone; 0 before the handshake."""
        self.data: Any = None
        self._dialect = dialect
        self._listener = listener

    def dialing(self, at: int) -> None:
        """A transport is being opened. `at` is the time from which the connect counts."""
        self.state = State.DIALING
        self.dialed_at = at
        self.silence = 0

    def send(self, packet: bytes) -> None:
        """Send a packet. The transport is there once the namespace has been joined."""
        assert self.transport is not None
        self.transport.send(packet)

    def close(self) -> None:
        """Leave politely; `lost` is not called."""
        transport = self._gone()
        # The server forgets who leaves.
        self.pid = self.offset = ""
        if transport is not None:
            transport.close()

    def cut(self, reason: str) -> None:
        """Cut the TCP connection. The listener gets `lost` with this reason."""
        transport = self.transport
        if transport is not None:
            self.transport = None
            transport.abort()
            self.ended(reason)

    def ended(self, reason: str) -> None:
        """The transport is gone. Only the first call of a connection counts."""
        if self.state is not State.CLOSED:
            self._listener.lost(self, reason)
            self._gone()

    def is_silent(self, now: int) -> bool:
        """True if the server's pings have stopped."""
        return self.silence > 0 and now - self.pinged_at > self.silence

    def receive(self, packet: bytes) -> None:
        """Handle one Engine.IO packet in text form."""
        dialect = self._dialect
        if packet.startswith(dialect.ack):
            self._acked(packet)
        elif packet.startswith(dialect.event):
            self._event(packet)
        elif packet == packets.PING:
            self.pinged_at = self.clock()
            self.send(packets.PONG)
        else:
            self._rare(packet)

    def _gone(self) -> Transport | None:
        transport, self.transport = self.transport, None
        self.state = State.CLOSED
        self.silence = 0
        return transport

    def _acked(self, packet: bytes) -> None:
        try:
            number = self._dialect.ack_id(packet)
        except ValueError as error:
            self._fail(f"{UNEXPECTED}{error}")
            return
        self._listener.acked(self, number, packet)

    def _event(self, packet: bytes) -> None:
        if self.pid:
            self.offset = packets.offset(packet) or self.offset
        self._listener.event(self, packet)

    def _rare(self, packet: bytes) -> None:
        dialect = self._dialect
        if packet.startswith(b"0") and self.state is State.DIALING:
            self._opened(packet)
        elif packet.startswith(dialect.connect) and self.state is State.JOINING:
            self._joined(packet)
        elif packet.startswith(dialect.refused) and self.state is State.JOINING:
            self._fail(f"the namespace refused the client: {dialect.refusal(packet)}")
        elif packet.startswith(dialect.disconnect):
            self._fail("the server disconnected the client")
        elif packet == packets.CLOSE:
            self._fail("the server closed the connection")
        elif packet.startswith((b"45", b"46")):
            self._binary(packet)
        elif not packet.startswith((b"b", b"6")):
            # Attachments follow their packet, which has been handled; a noop means nothing.
            self._fail(f"{UNEXPECTED}{packet[:60]!r}")

    def _opened(self, packet: bytes) -> None:
        try:
            hello = packets.opened(packet)
        except ValueError as error:
            self._fail(f"{UNEXPECTED}{error}")
            return
        self.pinged_at = self.clock()
        self.silence = int((hello.ping_interval + hello.ping_timeout) * 1e9)
        self.state = State.JOINING
        self.send(self._dialect.join(self.auth, self.pid, self.offset))

    def _joined(self, packet: bytes) -> None:
        try:
            answer = self._dialect.joined(packet)
        except ValueError as error:
            self._fail(f"{UNEXPECTED}{error}")
            return
        self.recovered = bool(self.pid) and answer.pid == self.pid
        if not self.recovered:
            self.offset = ""
        self.sid, self.pid = answer.sid, answer.pid
        self.state = State.READY
        self._listener.ready(self)

    def _binary(self, packet: bytes) -> None:
        try:
            kind = parse_header(packet).type
        except PeerError as error:
            self._fail(f"{UNEXPECTED}{error}")
            return
        if kind % 2:
            self._event(packet)
        else:
            self._acked(packet)

    def _fail(self, reason: str) -> None:
        transport, self.transport = self.transport, None
        self.ended(reason)
        if transport is not None:
            transport.abort()
