"""The first bytes of a TCP connection: is it a WebSocket?

uvicorn's protocol object, its parser, its scope and its walks over the headers would be made for
every client that connects, only to be thrown away at the upgrade. So a plain
upgrade request, whole in the first read, is recognised here; whatever else comes, odd or broken
or in pieces, goes to `HttpProtocol` untouched, which knows upgrades as well.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Final, NamedTuple, cast

from moorage.edge.http import upgrade
from moorage.edge.http.protocol import MAX_HEADERS, HttpProtocol
from moorage.metrics import Metrics
from moorage.wire.errors import PeerError
from moorage.wire.reasons import HEADER_TIMEOUT

_LINE: Final = re.compile(rb"GET (/[!-~]*) HTTP/1\.1")
_HEADER: Final = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\t -~\x80-\xff]*)")
_BODY: Final = frozenset((b"content-length", b"transfer-encoding", b"expect"))


class Setup(NamedTuple):
    """What all connections of a port share. `http` makes what takes a connection that is not plainly a
    WebSocket; `acceptors` holds those that have said nothing yet."""

    http: Callable[[], HttpProtocol]
    upgrades: upgrade.Upgrades
    metrics: Metrics
    limit: int
    acceptors: set[Acceptor]


class Acceptor(asyncio.Protocol):
    """One connection until its first bytes."""

    __slots__ = ("_setup", "_transport", "since")

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._transport: asyncio.Transport
        self.since = 0.0
        """When it was accepted (loop time): a connection that says nothing is closed."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Accepted."""
        self._transport = cast(asyncio.Transport, transport)
        self.since = asyncio.get_running_loop().time()
        self._setup.acceptors.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Gone without a word."""
        self._setup.acceptors.discard(self)

    def data_received(self, data: bytes) -> None:
        """The first bytes. There is no second call: somebody else has the transport then."""
        self._setup.acceptors.discard(self)
        found = read_upgrade(data, self._setup.limit)
        if found is not None:
            target, headers, end = found
            upgrade.begin(
                self._transport,
                target,
                headers,
                data[end:],
                upgrades=self._setup.upgrades,
                metrics=self._setup.metrics,
            )
            return
        http = self._setup.http()
        self._transport.set_protocol(http)
        http.connection_made(self._transport)
        http.data_received(data)

    def give_up(self) -> None:
        """It has said nothing for too long."""
        self._setup.metrics.refusals["http", HEADER_TIMEOUT.name] += 1
        self._transport.write(upgrade.plain_response(PeerError(HEADER_TIMEOUT)))
        self.shutdown()

    def shutdown(self) -> None:
        """The service stops. (The name is uvicorn's, as for its own connections.)"""
        self._setup.acceptors.discard(self)
        self._transport.close()


def read_upgrade(data: bytes, limit: int) -> tuple[str, list[tuple[bytes, bytes]], int] | None:
    """Target, headers (names in lower case) and length of a WebSocket upgrade request that is whole
    and beyond doubt (RFC 9112's grammar to the letter); None for anything else."""
    end = data.find(b"\r\n\r\n")
    if not 0 < end <= limit:
        return None
    first, *lines = data[:end].split(b"\r\n")
    request = _LINE.fullmatch(first)
    if request is None or len(lines) > MAX_HEADERS:
        return None
    headers: list[tuple[bytes, bytes]] = []
    wanted = 0
    for line in lines:
        header = _HEADER.fullmatch(line)
        if header is None:
            return None
        name, value = header[1].lower(), header[2].rstrip()
        if name in _BODY:
            return None
        if name == b"upgrade":
            wanted |= value.lower() == b"websocket"
        elif name == b"connection":
            wanted |= 2 * (b"upgrade" in {token.strip() for token in value.lower().split(b",")})
        headers.append((name, value))
    return (request[1].decode("ascii"), headers, end + 4) if wanted == 3 else None
