"""picows takes over a TCP connection on which another parser has read the upgrade request.

picows' `WSProtocol` can do that. The class is not in picows' documented API, so this file is its only user,
the version is pinned, and `tests/edge/http/test_upgrade.py` tests the contract."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any, Final, cast

from picows import WSAutoPingStrategy, WSListener, WSTransport, WSUpgradeResponse
from picows.common import WSUpgradeResponseWithListener
from picows.picows import WSProtocol  # type: ignore[attr-defined]

LINK_PING_SECONDS: Final = 20.0
READ_BUFFER: Final = 2048
"""picows' smallest buffer. It grows as needed, and is most of an idle connection's memory."""
MAX_READ: Final = 16 * 1024
"""Maximum bytes of one read from a client. Other clients wait while its packets are handled, about 4 ms if
they are as small as possible."""

_REQUEST: Final = (
    b"GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "
)
_SWITCHING: Final = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
)
_ANY_KEY: Final = b"dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"


class _Quiet:
    """A logger for picows, which would make a child of a standard logger for each connection."""

    name = "picows"

    def isEnabledFor(self, level: int) -> bool:
        return False

    def info(self, *args: object, **kwargs: object) -> None:
        """Log nothing: the service writes every line that matters."""

    debug = log = warning = error = exception = info


_QUIET: Final = _Quiet()


class BareTransport:
    """The transport as picows sees it. picows asks the socket for ten values that it only logs, or sets
    options that uvloop has set. Answers from here cost no system call. `real` is the transport itself."""

    __slots__ = ("descriptor", "get_write_buffer_size", "real", "write")

    def __init__(self, real: asyncio.Transport, descriptor: int) -> None:
        self.real = real
        self.descriptor = descriptor
        """The file descriptor if others may write to it while the transport takes data; else -1."""
        # Only what is called often is bound here: a bound method takes 64 bytes of each client.
        self.write = real.write
        self.get_write_buffer_size = real.get_write_buffer_size

    def writelines(self, lines: Iterable[bytes]) -> None:
        """Write a frame in parts."""
        self.real.writelines(lines)

    def close(self) -> None:
        """Close after what is buffered was written."""
        self.real.close()

    def abort(self) -> None:
        """Close at once."""
        self.real.abort()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """This object stands for the socket. The TLS object is the real one, or picows would bypass TLS."""
        if name == "socket":
            return self
        return self.real.get_extra_info(name, default) if name == "ssl_object" else default

    def fileno(self) -> int:
        """The file descriptor, on which picows sends small frames itself."""
        if self.descriptor >= 0:
            return self.descriptor
        socket = self.real.get_extra_info("socket")
        # uvloop has none any more for a TLS connection that has just been lost.
        return -1 if socket is None else int(socket.fileno())

    def setsockopt(self, *_option: object) -> None:
        """TCP_NODELAY, which uvloop has set already."""

    def getsockopt(self, *_option: object) -> int:
        """For a log line that is disabled."""
        return 0


def _unbuffered(real: asyncio.Transport) -> int:
    """Make the transport write at once, and pause its protocol as soon as the kernel does not take all. So
    it buffers nothing while it takes data. Returns the file descriptor; -1 if it must buffer: TLS does."""
    if real.is_closing() or real.get_extra_info("ssl_object") is not None or real.get_write_buffer_size():
        return -1
    real.set_write_buffer_limits(0)
    return int(real.get_extra_info("socket").fileno())


def descriptor_of(transport: WSTransport) -> int:
    """`BareTransport.descriptor`."""
    return cast(BareTransport, transport.underlying_transport).descriptor


def tcp_of(transport: WSTransport) -> asyncio.Transport:
    """The TCP transport under a WebSocket that `UpgradeRequest.accept` made."""
    return cast(BareTransport, transport.underlying_transport).real


_NO_HEADERS: Final[dict[str, str]] = {}


class _Switching:
    """The 101 in the form that picows takes. The first frames are in the same write, and no dictionary of
    headers stays in memory."""

    __slots__ = ("_rest", "headers")

    status = HTTPStatus.SWITCHING_PROTOCOLS

    def __init__(self, first: bytes, subprotocol: str = "", extension: str = "") -> None:
        self.headers: dict[str, str] = {}
        self._rest = b"\r\n\r\n" + first
        """What follows the answer to the key."""
        if extension:
            self._rest = f"\r\nSec-WebSocket-Extensions: {extension}".encode() + self._rest
        if subprotocol:
            self._rest = f"\r\nSec-WebSocket-Protocol: {subprotocol}".encode() + self._rest

    def to_bytes(self) -> bytearray:
        """Called once, after picows has stored the answer to the key in `headers`."""
        head = _SWITCHING + self.headers["Sec-WebSocket-Accept"].encode()
        self.headers = _NO_HEADERS
        rest, self._rest = self._rest, b""
        return bytearray(head + rest)


class ClientProtocol(WSProtocol):  # type: ignore[misc]
    """picows doubles its buffer when a read fills it, and never frees it. A fast client grew it to 3 MB for
    the rest of its connection. With shorter reads it grows only for a large message, and `shrink` frees it
    after that message."""

    __slots__ = ("_is_empty", "_max_frame")

    def __init__(self, max_frame: int, read_buffer: int, answer: WSUpgradeResponseWithListener) -> None:
        self._is_empty = False
        self._max_frame = max_frame
        _begin(self, max_frame, read_buffer, answer)

    def get_buffer(self, size_hint: int) -> memoryview:
        """The buffer for the next read."""
        buffer: memoryview = WSProtocol.get_buffer(self, size_hint)
        if len(buffer) <= MAX_READ:
            return buffer
        if self._is_empty:
            self._give_back()
            buffer = WSProtocol.get_buffer(self, size_hint)
        return buffer[:MAX_READ]

    def shrink(self) -> None:
        """Called while a frame longer than `MAX_READ` is handled, with nothing behind it. The buffer is freed
        before the next read, or in the next turn of the loop."""
        self._is_empty = True
        asyncio.get_running_loop().call_soon(self._give_back)

    def _give_back(self) -> None:
        """picows makes a buffer only when a protocol starts. So this protocol starts again on the same TCP
        connection, with a handshake that the client does not see."""
        if not self._is_empty:
            return
        self._is_empty = False
        old = self.transport
        if old.is_disconnected or old.is_close_frame_sent:
            return
        real = tcp_of(old)
        switching = cast(WSUpgradeResponse, _Switching(b""))
        answer = WSUpgradeResponseWithListener(switching, self.listener)
        _begin(self, self._max_frame, READ_BUFFER, answer)
        muted = BareTransport(real, descriptor_of(old))
        self.connection_made(muted)
        muted.write = _swallow
        _feed(self, _REQUEST + _ANY_KEY)
        muted.write = real.write
        _forget_request(self.transport)


def _swallow(data: object) -> None:
    """Drop the second 101: the client has received the first."""


def _begin(
    protocol: WSProtocol,
    max_frame: int,
    read_buffer: int,
    answer: WSUpgradeResponseWithListener,
    *,
    ping: bool = False,
) -> None:
    """Initialise picows' protocol."""
    WSProtocol.__init__(
        protocol,
        None,
        None,
        False,
        lambda _request: answer,
        _QUIET,
        True,
        None,
        ping,
        LINK_PING_SECONDS if ping else None,
        LINK_PING_SECONDS if ping else None,
        WSAutoPingStrategy.PING_WHEN_IDLE,
        # picows would answer pings even if the peer reads nothing, and buffer the answers.
        False,
        max_frame,
        None,
        read_buffer,
    )


def _feed(protocol: WSProtocol, data: bytes) -> None:
    """Give picows the data that was read before."""
    while data:
        size = len(data)
        buffer = protocol.get_buffer(size)
        if len(buffer) < size:
            size = len(buffer)
            buffer[:] = data[:size]
        else:
            buffer[:size] = data
        protocol.buffer_updated(size)
        data = data[size:]


def _forget_request(transport: WSTransport) -> None:
    """picows keeps the request for the connection's whole life. Nobody reads its headers: 900 bytes."""
    if transport.request is not None:
        del transport.request.headers


class _Taken(asyncio.Protocol):
    """uvloop keeps the `data_received` of the last protocol that had one, and with it that protocol. Without
    this one in between, each client would keep its `UpgradeRequest`: 1,200 bytes."""


_TAKEN: Final = _Taken()


class LinkProtocol(WSProtocol):  # type: ignore[misc]
    """Records every read: a large message may take longer to arrive than its sender may be silent."""

    __slots__ = ("_heard",)

    def __init__(self, max_frame: int, read_buffer: int, answer: WSUpgradeResponseWithListener) -> None:
        _begin(self, max_frame, read_buffer, answer, ping=True)

    def buffer_updated(self, size: int) -> None:
        """`size` bytes were read into the buffer."""
        self._heard = True
        WSProtocol.buffer_updated(self, size)

    def heard(self) -> bool:
        """True if anything was received since the last call."""
        heard, self._heard = self._heard, False
        return heard


def take_over(
    transport: asyncio.Transport,
    listener: WSListener,
    key: bytes,
    early: bytes,
    *,
    max_frame: int,
    first: bytes = b"",
    read_buffer: int = READ_BUFFER,
    ping: bool = False,
    subprotocol: str = "",
    extension: str = "",
) -> asyncio.BaseProtocol:
    """Answer 101 together with `first` (frames), and give the connection to `listener`. `key` is that of the
    request, `early` the data behind it. With `ping`, WebSocket pings check the peer (links only: a client has
    Engine.IO's heartbeat). Returns the new protocol of the transport."""
    switching = cast(WSUpgradeResponse, _Switching(first, subprotocol, extension))
    answer = WSUpgradeResponseWithListener(switching, listener)
    # Links are few and trusted, and need large reads.
    protocol = (LinkProtocol if ping else ClientProtocol)(max_frame, read_buffer, answer)
    protocol.connection_made(BareTransport(transport, -1 if ping else _unbuffered(transport)))
    transport.set_protocol(_TAKEN)
    transport.set_protocol(protocol)
    if not transport.is_reading():
        transport.resume_reading()
    # picows parses the request and keeps it, so it gets only the four headers that it checks.
    _feed(protocol, b"%b%b\r\n\r\n%b" % (_REQUEST, key, early))
    _forget_request(protocol.transport)
    return cast(asyncio.BaseProtocol, protocol)
