"""The HTTP side of the client port: uvicorn's protocol, with limits.

uvicorn parses with httptools, which bounds neither the size of headers nor the time they take.
Both are bounded here.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from moorage.edge import upgrade
from moorage.edge.settings import ServerSettings
from moorage.edge.unconfirmed import TRANSPORT
from moorage.metrics import Metrics
from moorage.wire.errors import PeerError
from moorage.wire.reasons import BAD_HTTP, BAD_UPGRADE, HEADER_TIMEOUT, HEADERS_TOO_LARGE, Reason

MAX_HEADERS: Final = 100


class HttpProtocol(HttpToolsProtocol):
    """One connection of the client port while it speaks HTTP."""

    settings: ServerSettings
    upgrades: upgrade.Upgrades
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
        except httptools.HttpParserUpgrade as asked:
            if self._should_upgrade():
                self._upgrade(data[asked.args[0] :])
        except (httptools.HttpParserError, UnicodeDecodeError):
            self.send_400_response("")

    def on_message_begin(self) -> None:
        """A request begins."""
        self._stuck = 0
        super().on_message_begin()
        self.scope["extensions"] = {TRANSPORT: self.transport}  # type: ignore[dict-item]
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
                self.transport.write(upgrade.plain_response(PeerError(reason)))
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
        if self.scope["method"] != "GET":
            self.fail(BAD_UPGRADE)
            return
        target = self.url.decode("latin-1")
        upgrade.begin(
            self.transport, target, self.headers, early, upgrades=self.upgrades, metrics=self.metrics
        )


def sweep(connections: set[Any], now: float) -> None:
    """Close the HTTP connections whose request does not come to its end. Called every second: one
    pass over what is open costs less than a timer per request."""
    for connection in [c for c in connections if isinstance(c, HttpProtocol) and c.overdue(now)]:
        connection.fail(HEADER_TIMEOUT)
