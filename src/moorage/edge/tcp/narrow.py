"""TLS with small buffers. OpenSSL's buffers and uvloop's grow with the data that they hold, and never shrink:
a client kept 380 KB for the rest of its connection after it had sent 200 KB, and 1 MB after it had got 1 MB.
So TLS gets its data in small pieces from both sides, and what waits to be sent waits encrypted in the TCP
transport, whose buffer shrinks. Such a client keeps 80 KB.

Besides, uvloop's TLS keeps the methods of its protocol's buffer after the end. A WebSocket would so be part
of a reference cycle, and wait for the garbage collector.

`SSLProtocol` is not in uvloop's documented API, so this file is its only user, and
`tests/edge/tcp/test_narrow.py` tests the contract."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Iterable
from typing import Any, Final

from uvloop.loop import SSLProtocol  # type: ignore[attr-defined]

READ: Final = 4 * 1024
"""One page. Longer reads saved no CPU (40 MB over a link to a client: 0.14 to 0.17 s with 4 to 256 KiB), and
a client kept 100 KB after such a message with 8 KiB, 150 KB with 16 KiB."""
RECORD: Final = 16 * 1024
"""Most bytes of one TLS record."""
UNREAD_HIGH, UNREAD_LOW = 32 * 1024, 20 * 1024
"""Bytes that TLS may hold while its protocol does not read. Both are longer than a record, because a part of
one cannot be read."""


class Narrow:
    """Stands between a TCP transport and uvloop's TLS."""

    __slots__ = ("_tcp", "_tls", "_transport", "_view", "buffer_updated", "closing", "eof_received")

    def __init__(self, tls: Any) -> None:
        self._tls = tls
        self._tcp: asyncio.Transport | None = None
        self._transport: Any = None
        """uvloop's TLS transport, after the handshake."""
        self.closing = False
        """True while TLS ends as soon as everything is sent."""
        # uvloop looks at its buffer's beginning, and never moves it. The protocol owns it.
        self._view = tls.get_buffer(READ)[:READ]
        self.buffer_updated = tls.buffer_updated
        self.eof_received = tls.eof_received

    def get_buffer(self, _hint: int) -> memoryview:
        """The place for the next read."""
        view: memoryview = self._view
        return view

    def connection_made(self, transport: Any) -> None:
        """The TCP connection is there. The handshake begins."""
        self._tcp = transport
        self._tls.connection_made(transport)

    def secure(self, transport: Any) -> None:
        """The handshake is done. This is uvloop's TLS transport."""
        transport.set_read_buffer_limits(UNREAD_HIGH, UNREAD_LOW)
        self._transport = transport

    def pause_writing(self) -> None:
        """TCP takes no more for now. TLS is not told, because it would gather what is written meanwhile."""
        self._tell("pause_writing")

    def resume_writing(self) -> None:
        """TCP takes data again."""
        self._tell("resume_writing")
        if self.closing:
            self.close()

    def close(self) -> None:
        """End TLS when everything is sent. uvloop would begin at once, and cut off what is not sent when the
        time for the peer's answer is over."""
        self.closing = self.waiting() > 0
        if self._transport is None:
            return
        if self.closing and self._tcp is not None:
            self._transport.pause_reading()
            # `resume_writing` is called when nothing is left.
            self._tcp.set_write_buffer_limits(high=0)
        else:
            self._transport.close()

    def _tell(self, method: str) -> None:
        protocol = None if self._transport is None else self._transport.get_protocol()
        if protocol is not None:
            getattr(protocol, method)()

    def waiting(self) -> int:
        """Bytes that are not sent yet."""
        return 0 if self._tcp is None else self._tcp.get_write_buffer_size()

    def unread(self) -> int:
        """Encrypted bytes that the protocol has not read."""
        return 0 if self._transport is None else int(self._transport.get_read_buffer_size())

    def connection_lost(self, exc: Exception | None) -> None:
        """The TCP connection is gone."""
        self._tls.connection_lost(exc)
        self._tcp = None
        if self._transport is not None:
            self._transport.set_protocol(_NOBODY)
            self._transport = None


class _Nobody(asyncio.BufferedProtocol):
    """Takes the place of the protocol of a connection that has ended."""


_NOBODY: Final = _Nobody()


class TlsTransport(asyncio.Transport):
    """What a connection with TLS is written to. All but the writing is uvloop's."""

    __slots__ = ("_narrow", "_tls")

    def __init__(self, tls: Any, narrow: Narrow) -> None:
        self._tls = tls
        self._narrow = narrow

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Encrypt, and queue for TCP. The data may be changed afterwards."""
        if len(data) <= RECORD:
            self._tls.write(data)
            return
        view = memoryview(data)
        for at in range(0, len(view), RECORD):
            self._tls.write(view[at : at + RECORD])

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        """The same for several parts. uvloop would make a record of each."""
        self.write(b"".join(list_of_data))

    def get_write_buffer_size(self) -> int:
        """Bytes that are not sent yet."""
        return self._narrow.waiting()

    def can_write_eof(self) -> bool:
        """TLS ends in both directions at once."""
        return False

    def is_closing(self) -> bool:
        """True once no more is sent."""
        return self._narrow.closing or bool(self._tls.is_closing())

    def close(self) -> None:
        """Send what is written, and close."""
        if not self.is_closing():
            self._narrow.close()

    def abort(self) -> None:
        """Close at once."""
        self._tls.abort()

    def is_reading(self) -> bool:
        """False while it is paused."""
        return bool(self._tls.is_reading())

    def pause_reading(self) -> None:
        """Take no more from the peer."""
        self._tls.pause_reading()

    def resume_reading(self) -> None:
        """Take data again."""
        self._tls.resume_reading()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Information about TLS or the TCP connection."""
        return self._tls.get_extra_info(name, default)

    def get_protocol(self) -> asyncio.BaseProtocol:
        """What gets the data."""
        protocol: asyncio.BaseProtocol = self._tls.get_protocol()
        return protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Give the data to another protocol from now on."""
        self._tls.set_protocol(protocol)


class _Secured(asyncio.Protocol):
    """Gets the connection when the handshake is done, and gives it to its protocol."""

    def __init__(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol
        self.narrow: Narrow

    def connection_made(self, transport: Any) -> None:
        self.narrow.secure(transport)
        transport.set_protocol(self._protocol)
        self._protocol.connection_made(TlsTransport(transport, self.narrow))


def secured(
    protocol: asyncio.BaseProtocol,
    context: ssl.SSLContext,
    *,
    handshake: float,
    shutdown: float,
    host: str | None = None,
) -> tuple[Callable[[], Any], asyncio.Future[None]]:
    """Makes what a TCP transport gets as its protocol, so that `protocol` gets a TLS transport after the
    handshake. The future has the end of the handshake. Times in seconds. `host` is the name that the peer's
    certificate must have; None for a server, whose peer has none."""
    done = asyncio.get_running_loop().create_future()
    first = _Secured(protocol)
    tls = SSLProtocol(
        asyncio.get_running_loop(),
        first,
        context,
        done,
        server_side=host is None,
        server_hostname=host,
        ssl_handshake_timeout=handshake,
        ssl_shutdown_timeout=shutdown,
    )
    first.narrow = narrow = Narrow(tls)
    return lambda: narrow, done
