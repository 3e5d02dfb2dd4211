"""Short reads for TLS. uvloop reads up to 256 KiB of TLS records at once, into a buffer that belongs to the
connection and stays in memory once it has been written to, as does OpenSSL's own. A client that had sent one
message of 200 KB kept 380 KB for the rest of its connection. With short reads it keeps 80 KB.

Besides, uvloop's TLS keeps the methods of its protocol's buffer after the end. A WebSocket would so be part
of a reference cycle, and wait for the garbage collector.

`SSLProtocol` is not in uvloop's documented API, so this file is its only user, and
`tests/edge/tcp/test_narrow.py` tests the contract."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any, Final

from uvloop.loop import SSLProtocol  # type: ignore[attr-defined]

READ: Final = 4 * 1024
"""One page. Longer reads saved no CPU (40 MB over a link to a client: 0.14 to 0.17 s with 4 to 256 KiB), and
a client kept 100 KB after such a message with 8 KiB, 150 KB with 16 KiB."""


class Narrow:
    """Stands between a TCP transport and uvloop's TLS."""

    __slots__ = (
        "_tls", "_view", "buffer_updated", "connection_made", "eof_received",
        "pause_writing", "resume_writing",
    )  # fmt: skip

    def __init__(self, tls: Any) -> None:
        self._tls = tls
        # uvloop looks at its buffer's beginning, and never moves it. The protocol owns it.
        self._view = tls.get_buffer(READ)[:READ]
        self.buffer_updated = tls.buffer_updated
        self.connection_made = tls.connection_made
        self.eof_received = tls.eof_received
        self.pause_writing = tls.pause_writing
        self.resume_writing = tls.resume_writing

    def get_buffer(self, _hint: int) -> memoryview:
        """The place for the next read."""
        view: memoryview = self._view
        return view

    def connection_lost(self, exc: Exception | None) -> None:
        """The TCP connection is gone."""
        # The TLS transport exists only as long as TLS has it.
        transport = self._tls._get_app_transport()
        self._tls.connection_lost(exc)
        transport.set_protocol(_NOBODY)


class _Nobody(asyncio.BufferedProtocol):
    """Takes the place of the protocol of a connection that has ended."""


_NOBODY: Final = _Nobody()


def secured(
    protocol: asyncio.Protocol, context: ssl.SSLContext, *, handshake: float, shutdown: float
) -> tuple[Narrow, asyncio.Future[None]]:
    """What a TCP transport of a TLS server gets as its protocol, so that `protocol` gets a TLS transport
    after the handshake. The future has the end of the handshake. Times in seconds."""
    done = asyncio.get_running_loop().create_future()
    tls = SSLProtocol(
        asyncio.get_running_loop(),
        protocol,
        context,
        done,
        server_side=True,
        ssl_handshake_timeout=handshake,
        ssl_shutdown_timeout=shutdown,
    )
    return Narrow(tls), done
