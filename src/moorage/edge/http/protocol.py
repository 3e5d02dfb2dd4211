"""The HTTP side of the client port: uvicorn's protocol, with limits.

uvicorn parses with httptools, which limits neither the size of headers nor the time they take, and parses all
requests of a read. This file limits the headers, the number of waiting requests, and the time that a client
may take to send its requests and to read our answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final, Protocol, cast

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from moorage.edge.http import upgrade
from moorage.edge.http.refusals import plain_response
from moorage.edge.http.transport import HttpTransport
from moorage.edge.relay.heads import MORE_BYTES, MORE_HEADERS, PREFIX
from moorage.edge.settings import ServerSettings
from moorage.edge.tcp.header import Source
from moorage.edge.unconfirmed import TRANSPORT
from moorage.metrics.metrics import Metrics
from moorage.wire import reasons
from moorage.wire.errors import PeerError
from moorage.wire.reasons import Reason

MAX_HEADERS: Final = 100
_RELAYED: Final = PREFIX.encode()
MAX_PIPELINED: Final = 16
"""Maximum number of requests of one connection that wait for their turn. Data behind them is not parsed
yet."""
TURN: Final = "moorage.turn"
"""Key of the connection's `Turn` in `extensions` of the scope."""
PIECE: Final = 512
"""Bytes that are parsed at a time if one read holds many requests: 30 of the shortest ones."""


class Waiter(Protocol):
    """An application that delays its answer."""

    def hurry(self) -> None:
        """Another request waits for this answer."""

    def lost(self) -> None:
        """Called when the connection is gone."""


class Turn:
    """What an application knows of its connection while it works on a request. It has no reference that would
    keep the connection alive."""

    __slots__ = ("queued", "waiter")

    def __init__(self) -> None:
        self.queued = False
        """True if another request waits behind this one."""
        self.waiter: Waiter | None = None


class HttpProtocol(HttpToolsProtocol):
    """One connection of the client port while it speaks HTTP."""

    settings: ServerSettings
    upgrades: Callable[[upgrade.UpgradeRequest], None]
    metrics: Metrics

    def __init__(self, config: Config, server_state: ServerState, app_state: dict[str, Any]) -> None:
        super().__init__(config=config, server_state=server_state, app_state=app_state)
        self._tcp: HttpTransport
        self._header_bytes = 0
        self._stuck = 0
        """Bytes since the parser last reported something."""
        self._failure: Reason = reasons.BAD_HTTP
        self._unparsed = b""
        """Data behind `MAX_PIPELINED` waiting requests. Reading is held meanwhile."""
        self._keep_alive = False
        """True if the connection may continue after the request that is being received."""
        self._full = False
        """True while the client does not read what is written."""
        self._turn = Turn()
        self.source: Source | None = None
        """The client, if a proxy has named it."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A new connection. Its first request is due."""
        self._tcp = HttpTransport(transport)
        super().connection_made(cast(asyncio.Transport, self._tcp))
        self._tcp.waiting_since = self.loop.time()

    @property
    def waiting_since(self) -> float | None:
        """When the connection began to wait for the rest of a request."""
        return self._tcp.waiting_since

    # -- requests -----------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Feed the parser. Data that cannot be parsed ends the connection."""
        if self._tcp.is_closing():
            self._tcp.drop(data)
            return
        self._unset_keepalive_if_required()
        if self._tcp.waiting_since is None:
            self._tcp.waiting_since = self.loop.time()
        self._unparsed += data
        self._parse()

    def _parse(self) -> None:
        """Parse what was received, except requests that have to wait."""
        data, self._unparsed = self._unparsed, b""
        # The first line of every request contains this.
        piece = PIECE if data.count(b"HTTP/") >= MAX_PIPELINED else len(data)
        at = 0
        while at < len(data) and len(self.pipeline) < MAX_PIPELINED:
            if not self._feed(data, at, at + piece):
                return
            at += piece
        self._unparsed = data[at:]
        self._tcp.hold(len(self.pipeline) >= MAX_PIPELINED)

    def _feed(self, data: bytes, start: int, end: int) -> bool:
        """Parse a part of `data`. False if the rest is not HTTP, or will not be answered."""
        part = data[start:end]
        self._stuck += len(part)
        try:
            self.parser.feed_data(part)
            if self._stuck > max(self.settings.max_header_bytes, len(part)):
                # httptools reports a header only when it is complete, however long it is.
                self._failure = reasons.HEADERS_TOO_LARGE
                self.send_400_response("")
        except httptools.HttpParserUpgrade as asked:
            if self._should_upgrade():
                self._upgrade(data[start + asked.args[0] :])
                return False
        except (httptools.HttpParserError, UnicodeDecodeError):
            self.send_400_response("")
        return not self._tcp.is_closing()

    def on_message_begin(self) -> None:
        """A request begins."""
        self._stuck = 0
        super().on_message_begin()
        self.scope["extensions"] = {TRANSPORT: self._tcp.real, TURN: self._turn}  # type: ignore[dict-item]
        self._header_bytes = 0

    def on_url(self, url: bytes) -> None:
        """Part of the target."""
        self._grow(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header."""
        self._grow(len(name) + len(value))
        if len(self.headers) >= MAX_HEADERS:
            self._check(len(self.headers) - MAX_HEADERS < MORE_HEADERS)
        super().on_header(name, value)

    def _grow(self, size: int) -> None:
        self._stuck = 0
        self._header_bytes += size
        if self._header_bytes > self.settings.max_header_bytes:
            self._check(self._header_bytes - self.settings.max_header_bytes <= MORE_BYTES)

    def _check(self, is_little: bool) -> None:
        """A limit is exceeded. A relayed request may exceed it a little, because it has more than at its
        first node."""
        if not is_little or not self.url.startswith(_RELAYED):
            self._failure = reasons.HEADERS_TOO_LARGE
            raise ValueError

    def on_headers_complete(self) -> None:
        """Give the request to the application, now or when the requests before it are answered."""
        before = self.cycle
        super().on_headers_complete()
        if self.cycle is not before:
            # If an answer begins before its request is complete, it is the last one.
            self._keep_alive, self.cycle.keep_alive = self.cycle.keep_alive, False
        self._turn.queued = bool(self.pipeline)
        if self._turn.queued and self._turn.waiter is not None:
            self._turn.waiter.hurry()

    def on_body(self, body: bytes) -> None:
        """Part of the body."""
        self._stuck = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is complete."""
        self._stuck = 0
        self._tcp.waiting_since = None
        super().on_message_complete()
        # None for an upgrade that comes first.
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is not None and not cycle.response_started:
            cycle.keep_alive = self._keep_alive

    # -- answers ------------------------------------------------------------------------------------

    def on_response_complete(self) -> None:
        """The answer is complete: the next request has its turn."""
        super().on_response_complete()
        self._turn.queued = bool(self.pipeline)
        if self._unparsed and not self._tcp.is_closing():
            self._unset_keepalive_if_required()
            if self._tcp.waiting_since is None:
                self._tcp.waiting_since = self.loop.time()
            self._parse()
        else:
            self._tcp.hold(False)

    def pause_writing(self) -> None:
        """The client reads answers too slowly."""
        self._full = True
        super().pause_writing()

    def resume_writing(self) -> None:
        """The client has caught up."""
        self._full = False
        self._tcp.caught_up()
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """Called by uvicorn. The status is that of the reason."""
        self.fail(self._failure)

    def fail(self, reason: Reason) -> None:
        """Refuse what this connection is sending, and close it."""
        self.metrics.refusals["http", reason.name] += 1
        if not self.transport.is_closing():
            if not self._answering or self._sole:
                self.transport.write(plain_response(PeerError(reason)))
            # The client may still be sending.
            self._tcp.waiting_since = self.loop.time()
            self.transport.close()

    @property
    def _sole(self) -> bool:
        """True if the application has only the request that is being received, and has not begun to
        answer."""
        return self.cycle.more_body and not self.cycle.response_started and not self.pipeline

    @property
    def _answering(self) -> bool:
        """True while the application has a request that is not answered completely."""
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is not None and not cycle.response_complete

    def shutdown(self) -> None:
        """The service stops. The current answer is the last one."""
        self._keep_alive = False
        self._tcp.waiting_since = None
        super().shutdown()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone. uvicorn would notify only the last request."""
        if self._turn.waiter is not None:
            self._turn.waiter.lost()
        self._unparsed = b""
        self.pipeline.clear()
        super().connection_lost(exc)

    # -- another node goes on with the connection -----------------------------------------------------

    def hold(self, cycle: RequestResponseCycle) -> bytes | None:
        """Stop reading. Returns this request, which has no answer yet, and all data received behind it, as
        another node can read it. None if these bytes cannot be restored; then the connection goes on as
        before."""
        last = self.cycle
        waiting = [cycle, *(other for other, _ in reversed(self.pipeline))]
        if (
            waiting[-1] is not last
            # Part of the next request's head is in the parser.
            or last.scope is not self.scope
            or cycle.response_started
            or self.transport.is_closing()
            or self._tcp.real.get_write_buffer_size()
            or (last.more_body and _is_chunked(last))
        ):
            return None
        self._tcp.hold(True)
        return b"".join(map(_as_received, waiting)) + self._unparsed

    def go_on(self) -> None:
        """After `hold`: read again. The connection stays here."""
        self._tcp.hold(len(self.pipeline) >= MAX_PIPELINED)

    def let_go(self, cycle: RequestResponseCycle) -> None:
        """After `hold`: another node has the connection. Its descriptor is closed here, without a trace for
        the client."""
        cycle.disconnected = True
        self._tcp.abort()

    # -- time ---------------------------------------------------------------------------------------

    def check(self, now: float) -> None:
        """End the connection if the client takes too long for a request, an answer or the close."""
        if self._full or self._tcp.is_closing():
            if self._tcp.stuck(now, self.settings.answer_timeout):
                self.metrics.refusals["http", reasons.ANSWER_TIMEOUT.name] += 1
                self._tcp.abort()
        elif self._overdue(now):
            self.fail(reasons.HEADER_TIMEOUT)

    def _overdue(self, now: float) -> bool:
        since = self._tcp.waiting_since
        if since is None or self._unparsed:
            # In the second case the client waits for the service.
            return False
        allowed = self.settings.body_timeout if self._answering else self.settings.header_timeout
        return now - since > allowed

    # -- WebSockets ---------------------------------------------------------------------------------

    def _upgrade(self, early: bytes) -> None:
        self._unset_keepalive_if_required()
        if self.scope["method"] != "GET" or self._answering or self._full:
            self.fail(reasons.BAD_UPGRADE)
            return
        self.connections.discard(self)
        self._tcp.flush()
        target = self.url.decode("latin-1")
        upgrade.begin(
            self._tcp.real,
            target,
            upgrade.decoded(self.headers),
            early,
            upgrades=self.upgrades,
            metrics=self.metrics,
            source=self.source,
        )


def _is_chunked(cycle: RequestResponseCycle) -> bool:
    return any(name == b"transfer-encoding" for name, _ in cycle.scope["headers"])


def _as_received(cycle: RequestResponseCycle) -> bytes:
    """A request as bytes: its head, and what the parser has read of its body. A body that came in chunks is
    complete, and gets a length instead."""
    scope, body = cycle.scope, bytes(cycle.body)
    query = b"?" + scope["query_string"] if scope["query_string"] else b""
    target = scope["raw_path"] + query
    lines = [f"{scope['method']} ".encode() + target + f" HTTP/{scope['http_version']}".encode()]
    for name, value in scope["headers"]:
        if name == b"transfer-encoding":
            name, value = b"content-length", b"%d" % len(body)
        lines.append(b"%b: %b" % (name, value))
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def sweep(connections: set[Any], now: float) -> None:
    """Close the HTTP connections that take too long. Called a few times a second: one pass over all
    connections costs less than a timer for each request."""
    for connection in tuple(connections):
        if isinstance(connection, HttpProtocol):
            connection.check(now)
