"""What the WebSockets of clients and of links share: fragments, close codes, and an end within a time."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Final, Protocol

from picows import WSCloseCode, WSFrame, WSListener, WSMsgType, WSTransport

from moorage import logs
from moorage.edge.http.takeover import tcp_of
from moorage.edge.messages import Assembler
from moorage.metrics.metrics import Metrics
from moorage.wire import reasons
from moorage.wire.errors import PeerError
from moorage.wire.reasons import Reason

CLOSE_SECONDS: Final = 5.0
"""A closed peer that does not take its last bytes is cut off after this time."""
STEP_SECONDS: Final = 1.0
"""The longest time between two ticks that counts. A longer one means that this process was asleep."""

_CODES: Final = {int(code.value): code for code in WSCloseCode if code.value != 1006}
_FAULTS: Final = {
    WSCloseCode.MESSAGE_TOO_BIG: reasons.PAYLOAD_TOO_LARGE,
    WSCloseCode.PROTOCOL_ERROR: reasons.BAD_FRAME,
    WSCloseCode.INVALID_TEXT: reasons.BAD_FRAME,
    WSCloseCode.INTERNAL_ERROR: reasons.INTERNAL,
}
"""The codes with which picows itself closes a WebSocket, and the reasons they stand for."""
_LINK_REASONS: Final = {
    reasons.PAYLOAD_TOO_LARGE: reasons.LINK_FRAME_TOO_LARGE,
    reasons.BAD_FRAME: reasons.LINK_BAD_FRAME,
    reasons.FRAGMENT_FLOOD: reasons.LINK_BAD_FRAME,
}
_ORDINARY: Final = (reasons.LINK_CLOSED, reasons.LINK_LOST, reasons.LINK_REPLACED, reasons.DRAINING)
"""Ends of a link that are not counted as refusals."""

_BINARY: Final = WSMsgType.BINARY
_PING: Final = WSMsgType.PING
_PONG: Final = WSMsgType.PONG

log: Final = logs.get("link")


class Expiring(Protocol):
    """A socket with a deadline."""

    def expired(self) -> None:
        """The deadline has passed: end it."""


class Sweep:
    """The deadlines of the sockets that must change their state: greet, finish an upgrade, or go away."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._deadlines: dict[Expiring, float] = {}
        self._ticked = clock()

    def __contains__(self, socket: Expiring) -> bool:
        return socket in self._deadlines

    def __len__(self) -> int:
        return len(self._deadlines)

    def watch(self, socket: Expiring, seconds: float) -> None:
        """Set the socket's deadline, `seconds` from now. It replaces an earlier one."""
        self._deadlines[socket] = self._clock() + seconds

    def forget(self, socket: Expiring) -> None:
        """The socket has no deadline any more."""
        self._deadlines.pop(socket, None)

    def tick(self, now: float) -> None:
        """Called a few times a second. After a sleep of this process the deadlines move by its length: what
        the peers sent meanwhile is still unread."""
        slept = now - self._ticked - STEP_SECONDS
        self._ticked = now
        for socket, deadline in tuple(self._deadlines.items()):
            if slept > 0:
                self._deadlines[socket] = deadline + slept
            elif deadline <= now:
                del self._deadlines[socket]
                socket.expired()


class Socket(WSListener):
    """One WebSocket. `on_ws_frame` is left to each subclass: no call is added for a frame."""

    __slots__ = ("_assembler", "_transport")

    def __init__(self) -> None:
        self._assembler: Assembler | None = None
        self._transport: WSTransport | None = None

    def _join(self, frame: WSFrame, limit: int) -> tuple[WSMsgType, bytes] | None:
        """The whole message when `frame` is the last fragment of one. Raises `PeerError`."""
        if self._assembler is None:
            self._assembler = Assembler(limit)
        message = self._assembler.add(frame)
        if message is not None:
            self._assembler = None
        return message

    def _send_close(self, sweep: Sweep, reason: Reason | None = None) -> None:
        """Send a close frame, with the reason if there is one, and end the connection after it."""
        transport = self._transport
        if transport is None or transport.is_disconnected:
            return
        if not transport.is_close_frame_sent:
            if reason is None:
                transport.send_close(WSCloseCode.OK)
            else:
                transport.send_close(_CODES.get(reason.ws, WSCloseCode.OK), reason.name.encode())
            sweep.watch(self, CLOSE_SECONDS)
        transport.disconnect()

    def abort(self) -> None:
        """End the connection at once, without a close frame."""
        if self._transport is not None:
            self._transport.disconnect(graceful=False)

    def expired(self) -> None:
        """The peer did not end its connection in time."""
        self.abort()


class LinkSocket(Socket):
    """One link's WebSocket, in either dialect."""

    def __init__(self, metrics: Metrics) -> None:
        super().__init__()
        self._metrics = metrics
        self._ended = False
        self._paused = False

    @property
    def address(self) -> str:
        """The IP address of the app server, or of a proxy before it; "" if it is unknown."""
        peer = None if self._transport is None else tcp_of(self._transport).get_extra_info("peername")
        return str(peer[0]) if isinstance(peer, tuple) else ""

    @abstractmethod
    def _message(self, data: bytes) -> None:
        """Take one whole message. Raises `PeerError`."""

    @abstractmethod
    def _uncork(self) -> None:
        """Write what the frames of this read have led to."""

    @abstractmethod
    def _fields(self) -> dict[str, object]:
        """The fields that name this link in log lines."""

    def _control(self, frame: WSFrame, limit: int, *, congested: bool) -> None:
        """A frame that is neither a whole message nor a close frame. Raises `PeerError`."""
        kind = frame.msg_type
        if kind == _PING:
            if not congested and self._transport is not None:
                self._transport.send_pong(frame.get_payload_as_bytes())
        elif kind != _PONG:
            message = self._join(frame, limit)
            if message is not None:
                if message[0] != _BINARY:
                    raise PeerError(reasons.LINK_BAD_FRAME, "text")
                self._message(message[1])

    def is_user_specific_pong(self, frame: WSFrame) -> bool:
        """picows does not pass on the pongs that it waits for, but one may be the last frame of a read."""
        if frame.msg_type != _PONG:
            return False
        if frame.last_in_buffer:
            self._uncork()
        return True

    def _end(self, reason: Reason) -> None:
        """Log and count the end of the link, once."""
        if self._ended:
            return
        self._ended = True
        if reason not in _ORDINARY:
            self._metrics.refusals["link", reason.name] += 1
        log.info("link ended", reason=reason.name, number=reason.number, **self._fields())

    def pause_reading(self) -> None:
        """Leave incoming data in the kernel: enough frames wait to be carried out."""
        if not self._paused and self._transport is not None and not self._transport.is_disconnected:
            self._paused = True
            tcp_of(self._transport).pause_reading()

    def resume_reading(self) -> None:
        """Read on."""
        if self._paused and self._transport is not None:
            self._paused = False
            if not self._transport.is_disconnected:
                tcp_of(self._transport).resume_reading()

    def not_read(self) -> None:
        """Called a few times a second while reading is paused. A pong may be among the unread data, so
        picows must not take the peer for silent."""
        if self._transport is not None and not self._transport.is_disconnected:
            self._transport.notify_user_specific_pong_received()


def reason_of(transport: WSTransport, lost: Reason) -> Reason:
    """The reason why a TCP connection is gone: `lost`, unless picows closed it itself because of a broken
    frame."""
    handshake = transport.close_handshake
    sent = handshake.sent if handshake else None
    return lost if sent is None else _FAULTS.get(sent.code, lost)


def link_reason(reason: Reason) -> Reason:
    """The reason with which a link ends, for a reason that is about any WebSocket."""
    return _LINK_REASONS.get(reason, reason)
