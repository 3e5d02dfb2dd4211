"""The HTTP side of the client port: uvicorn's protocol, with limits, and the door to WebSocket.

uvicorn parses with httptools, which bounds neither the size of headers nor the time they take.
Both are bounded here. On an upgrade the transport leaves uvicorn for picows' `WSProtocol`: that
class is not in picows' documented API, so this file is its only user, the version is pinned and
`tests/edge/test_http.py` holds the contract.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final, Protocol
from urllib.parse import parse_qs

import httptools
import orjson
from picows import WSAutoPingStrategy, WSListener
from picows.picows import WSProtocol  # type: ignore[attr-defined]
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from moorage.edge.settings import ServerSettings
from moorage.metrics import Metrics
from moorage.wire.errors import PeerError
from moorage.wire.reasons import (
    BAD_HTTP,
    BAD_REQUEST,
    BAD_UPGRADE,
    HEADER_TIMEOUT,
    HEADERS_TOO_LARGE,
    Reason,
)

MAX_HEADERS: Final = 100
MAX_FIELDS: Final = 200
"""Fields of a query."""
MAX_EARLY: Final = 64 * 1024
"""Bytes that a client may send after its upgrade request and before our 101."""
LINK_PING_SECONDS: Final = 20.0
READ_BUFFER: Final = 2048
"""picows' smallest. It grows as needed; an idle connection's memory is mostly this."""
HINT: Final = (
    'Socket.IO clients connect with { path: "/clients/socketio/hubs/HUB" }, or with no path at all '
    "for the default hub"
)


class Upgrades(Protocol):
    """Takes WebSocket upgrade requests of all paths."""

    def __call__(self, request: UpgradeRequest) -> None: ...


class _Quiet:
    """picows wants a logger, and makes one more per connection of a stdlib one."""

    name = "picows"

    def isEnabledFor(self, level: int) -> bool:
        return False

    def info(self, *args: object, **kwargs: object) -> None:
        """Nothing: every line that matters is written by us."""

    debug = log = warning = error = exception = info


_QUIET: Final = _Quiet()


class UpgradeRequest(asyncio.Protocol):
    """A WebSocket upgrade that nobody has answered yet: it holds the transport meanwhile, since a
    refusal must still be an HTTP status (the app server may take seconds to decide)."""

    def __init__(
        self,
        transport: asyncio.Transport,
        path: str,
        query: str,
        headers: list[tuple[bytes, bytes]],
        early: bytes,
    ) -> None:
        self.path = path
        self.query_string = query
        self.headers = headers
        self.on_lost: Callable[[], None] | None = None
        """Called if the client goes away before the answer."""
        self._transport = transport
        self._early = early
        self._answered = False

    def header(self, name: bytes) -> str:
        """The first value of a header (lower-case name), or ""."""
        for key, value in self.headers:
            if key == name:
                return value.decode("latin-1")
        return ""

    @property
    def query(self) -> dict[str, list[str]]:
        """The query, decoded. Raises `PeerError` (bad-request)."""
        return parse_query(self.query_string)

    def data_received(self, data: bytes) -> None:
        """The client talks before the 101: kept, within bounds."""
        self._early += data
        if len(self._early) > MAX_EARLY:
            self._transport.pause_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """It did not wait."""
        if not self._answered:
            self._answered = True
            if self.on_lost is not None:
                self.on_lost()

    def accept(
        self, listener: WSListener, *, max_frame: int, read_buffer: int = READ_BUFFER, ping: bool = False
    ) -> None:
        """Answer 101 and hand the connection to `listener`. `ping`: keep the peer alive with
        WebSocket pings (links only: a client has Engine.IO's heartbeat)."""
        self._answered = True
        key = self.header(b"sec-websocket-key").encode("latin-1")
        # picows parses the request itself and keeps it: it gets the four headers that it checks.
        request = (
            b"GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %b\r\n\r\n" % key
        )
        protocol = WSProtocol(
            None,
            None,
            False,
            lambda _request: listener,
            _QUIET,
            True,
            None,
            ping,
            LINK_PING_SECONDS if ping else None,
            LINK_PING_SECONDS if ping else None,
            WSAutoPingStrategy.PING_WHEN_IDLE,
            True,
            max_frame,
            None,
            read_buffer,
        )
        transport = self._transport
        protocol.connection_made(transport)
        transport.set_protocol(protocol)
        if not transport.is_reading():
            transport.resume_reading()
        early, self._early = request + self._early, b""
        while early:
            buffer = protocol.get_buffer(len(early))
            size = min(len(buffer), len(early))
            buffer[:size] = early[:size]
            early = early[size:]
            protocol.buffer_updated(size)

    def refuse(self, error: PeerError, extra: tuple[tuple[bytes, bytes], ...] = ()) -> None:
        """Answer with the reason's HTTP status and body, and close."""
        if not self._answered:
            self._answered = True
            self._transport.write(plain_response(error, extra))
            self._transport.close()


def parse_query(query: str) -> dict[str, list[str]]:
    """A request's query. Raises `PeerError` (bad-request) for one of too many fields."""
    try:
        return parse_qs(query, keep_blank_values=True, max_num_fields=MAX_FIELDS)
    except ValueError:
        raise PeerError(BAD_REQUEST, f"a query of more than {MAX_FIELDS} fields") from None


def plain_response(error: PeerError, extra: tuple[tuple[bytes, bytes], ...] = ()) -> bytes:
    """A whole HTTP refusal, ready to write."""
    body = error_body(error)
    headers = b"".join(b"%b: %b\r\n" % pair for pair in extra)
    return b"%bcontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n%b\r\n%b" % (
        STATUS_LINE[error.reason.http],
        len(body),
        headers,
        body,
    )


def error_body(error: PeerError) -> bytes:
    """Engine.IO's error shape, with the numbered reason beside it, and a hint for who is lost."""
    reason = error.reason
    body: dict[str, object] = {
        "code": reason.eio,
        "message": error.message,
        "reason": reason.name,
        "number": reason.number,
    }
    if reason.http == 404:
        body["hint"] = HINT
    return orjson.dumps(body)


class HttpProtocol(HttpToolsProtocol):
    """One connection of the client port while it speaks HTTP."""

    settings: ServerSettings
    upgrades: Upgrades
    metrics: Metrics

    def __init__(self, config: Config, server_state: ServerState, app_state: dict[str, Any]) -> None:
        super().__init__(config=config, server_state=server_state, app_state=app_state)
        self.waiting_since: float | None = None
        """Since when a request's headers, or its body, are being waited for."""
        self._header_bytes = 0
        self._stuck = 0
        """Bytes since the parser last had something to tell."""
        self._failure: Reason = BAD_HTTP

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A new connection owes us a request."""
        super().connection_made(transport)
        self.waiting_since = self.loop.time()

    def data_received(self, data: bytes) -> None:
        """Feed the parser; what it cannot parse, or will not, ends here."""
        if self.transport.is_closing():
            return
        self._unset_keepalive_if_required()
        if self.waiting_since is None:
            self.waiting_since = self.loop.time()
        self._stuck += len(data)
        try:
            self.parser.feed_data(data)
            if self._stuck > max(self.settings.max_header_bytes, len(data)):
                # httptools keeps a header to itself until it is whole, however long that takes.
                self._failure = HEADERS_TOO_LARGE
                self.send_400_response("")
        except httptools.HttpParserUpgrade as upgrade:
            if self._should_upgrade():
                self._upgrade(data[upgrade.args[0] :])
        except (httptools.HttpParserError, UnicodeDecodeError):
            self.send_400_response("")

    def on_message_begin(self) -> None:
        """A request begins."""
        self._stuck = 0
        super().on_message_begin()
        self._header_bytes = 0

    def on_url(self, url: bytes) -> None:
        """Part of the target."""
        self._grow(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header."""
        self._grow(len(name) + len(value))
        if len(self.headers) >= MAX_HEADERS:
            self._failure = HEADERS_TOO_LARGE
            raise ValueError
        super().on_header(name, value)

    def _grow(self, size: int) -> None:
        self._stuck = 0
        self._header_bytes += size
        if self._header_bytes > self.settings.max_header_bytes:
            self._failure = HEADERS_TOO_LARGE
            raise ValueError

    def on_body(self, body: bytes) -> None:
        """Part of the body."""
        self._stuck = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is whole."""
        self._stuck = 0
        self.waiting_since = None
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """uvicorn's name; the status is the reason's."""
        self.fail(self._failure)

    def fail(self, reason: Reason) -> None:
        """Refuse whatever this connection is sending, and close it."""
        self.metrics.refusals["http", reason.name] += 1
        if not self.transport.is_closing():
            if not self._answering or self._sole:
                self.transport.write(plain_response(PeerError(reason)))
            self.transport.close()

    @property
    def _sole(self) -> bool:
        """The request that the application has is the one still coming in, with no answer begun."""
        return self.cycle.more_body and not self.cycle.response_started and not self.pipeline

    @property
    def _answering(self) -> bool:
        """The application has a request and has not finished its answer."""
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is not None and not cycle.response_complete

    def overdue(self, now: float) -> bool:
        """Has this connection kept us waiting for the rest of a request too long?"""
        if self.waiting_since is None:
            return False
        allowed = self.settings.header_timeout
        if self._answering:
            allowed = self.settings.body_timeout
        return now - self.waiting_since > allowed

    def _upgrade(self, early: bytes) -> None:
        self.connections.discard(self)
        self._unset_keepalive_if_required()
        path, _, query = self.url.decode("latin-1").partition("?")
        request = UpgradeRequest(self.transport, path, query, self.headers, early)
        self.transport.set_protocol(request)
        key_ok = len(request.header(b"sec-websocket-key")) == 24
        if self.scope["method"] != "GET" or not key_ok or request.header(b"sec-websocket-version") != "13":
            request.refuse(PeerError(BAD_UPGRADE), ((b"sec-websocket-version", b"13"),))
            self.metrics.refusals["http", BAD_UPGRADE.name] += 1
            return
        self.upgrades(request)


def sweep(connections: set[Any], now: float) -> None:
    """Close the HTTP connections whose request does not come to its end. Called every second: one
    pass over what is open costs less than a timer per request."""
    for connection in [c for c in connections if isinstance(c, HttpProtocol) and c.overdue(now)]:
        connection.fail(HEADER_TIMEOUT)
