"""Looks at the first bytes of a TCP connection for a WebSocket upgrade request.

For every client that connects, uvicorn would build a protocol object, a parser and a scope, and drop them at
the upgrade. So a plain upgrade request that is complete in the first read is recognised here. Everything
else, including unusual, broken or incomplete upgrade requests, goes to `HttpProtocol` unchanged."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from itertools import chain
from typing import Final, NamedTuple, cast

from moorage.edge.http import upgrade
from moorage.edge.http.protocol import MAX_HEADERS, HttpProtocol
from moorage.edge.http.refusals import plain_response
from moorage.edge.tcp.header import SIGNATURE, ProxyHeader, Source
from moorage.metrics.metrics import Metrics
from moorage.wire.errors import PeerError
from moorage.wire.reasons import HEADER_TIMEOUT

_START: Final = re.compile(r"GET (/[!-~]*) HTTP/1\.1(?=\r\n)")
# Possessive, so that no request is tried in several ways.
_HEADER: Final = re.compile(r"\r\n([!#$%&'*+.^_`|~0-9A-Za-z-]++):([\t -~\x80-\xff]*+)")
_AROUND: Final = len("\r\n:")
"""Characters of a header besides its name and its value."""
_BODY: Final = frozenset(("content-length", "transfer-encoding", "expect"))
_NONE: Final = ("",)
"""The values of a header that is missing."""


class Setup(NamedTuple):
    """What all connections of a port share. `http` makes the protocol for connections that do not begin with
    a plain upgrade request. `acceptors` holds the connections that have sent nothing yet."""

    http: Callable[[], HttpProtocol]
    upgrades: Callable[[upgrade.UpgradeRequest], None]
    metrics: Metrics
    limit: int
    acceptors: set[Acceptor]


class Acceptor(asyncio.Protocol):
    """One connection until its first bytes."""

    __slots__ = ("_setup", "_source", "_transport", "since")

    def __init__(self, setup: Setup, source: Source | None = None) -> None:
        self._setup = setup
        self._source = source
        """The client, if a proxy has named it."""
        self._transport: asyncio.Transport
        self.since = 0.0
        """When it was accepted (loop time). A connection that sends nothing is closed."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection was accepted."""
        self._transport = cast(asyncio.Transport, transport)
        self.since = asyncio.get_running_loop().time()
        self._setup.acceptors.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection ended before any data."""
        self._setup.acceptors.discard(self)

    def data_received(self, data: bytes) -> None:
        """The first bytes. There is no second call, because the transport gets another protocol."""
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
                source=self._source,
            )
            return
        http = self._setup.http()
        self._transport.set_protocol(http)
        http.connection_made(self._transport)
        if self._source is not None:
            http.source = http.client = self._source
        http.data_received(data)

    def give_up(self) -> None:
        """Nothing was received in time."""
        self._setup.metrics.refusals["http", HEADER_TIMEOUT.name] += 1
        self._transport.write(plain_response(PeerError(HEADER_TIMEOUT)))
        self.shutdown()

    def shutdown(self) -> None:
        """The service stops. uvicorn's own connections have a method of this name, too."""
        self._setup.acceptors.discard(self)
        self._transport.close()


class PassedAcceptor(Acceptor):
    """A connection that another node of this machine has accepted. `data` is what it has read."""

    __slots__ = ("_data",)

    def __init__(self, setup: Setup, data: bytes) -> None:
        super().__init__(setup)
        self._data = data

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """This node has the connection now."""
        super().connection_made(transport)
        asyncio.get_running_loop().call_soon(self._begin)

    def _begin(self) -> None:
        if self._data and not self._transport.is_closing():
            self.data_received(b"")

    def data_received(self, data: bytes) -> None:
        """More data may be read before `_begin`."""
        before, self._data = self._data, b""
        if before.startswith(SIGNATURE):
            # The other node has added it (`relay.passing`): it knows the client's address from a proxy.
            header = ProxyHeader()
            while size := header.wanted:
                header.feed(before[:size])
                before = before[size:]
            self._source = header.source
        super().data_received(before + data)


def read_upgrade(data: bytes, limit: int) -> tuple[str, dict[str, list[str]], int] | None:
    """Target, headers (the values of each, by its name in lower case) and length of a complete WebSocket
    upgrade request. None for anything that does not follow RFC 9112's grammar to the letter, and for an
    upgrade that only the second of two headers with one name asks for."""
    end = data.find(b"\r\n\r\n")
    if not 0 < end <= limit:
        return None
    # Decoded once, and one expression for all headers: a call of each for every header costs 10 us more.
    text = str(data[:end], "latin-1")
    start = _START.match(text)
    if start is None:
        return None
    found = _HEADER.findall(text, start.end())
    # The expression skips what is not a header: then some characters are missing.
    if start.end() + _AROUND * len(found) + sum(map(len, chain.from_iterable(found))) != end:
        return None
    headers = {name.lower(): [value.strip(" \t")] for name, value in found}
    if len(headers) < len(found):
        headers = upgrade.gathered((name, value.strip(" \t")) for name, value in found)
    if len(found) > MAX_HEADERS or not _BODY.isdisjoint(headers):
        return None
    if headers.get("upgrade", _NONE)[0].lower() != "websocket":
        return None
    connection = headers.get("connection", _NONE)[0].lower()
    if connection != "upgrade" and "upgrade" not in [token.strip(" \t") for token in connection.split(",")]:
        return None
    return start[1], headers, end + 4
