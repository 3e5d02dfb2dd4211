"""A WebSocket upgrade, from the request to the answer. The app server decides about a client before the 101,
so a request may wait here. When it is accepted, picows takes the transport (`edge.http.takeover`)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable
from typing import Final, Protocol

from picows import WSListener

from moorage.edge.http.refusals import plain_response
from moorage.edge.http.takeover import READ_BUFFER, take_over
from moorage.edge.tcp.header import Source
from moorage.metrics.metrics import Metrics
from moorage.wire.errors import PeerError
from moorage.wire.query import parse_query as query_of
from moorage.wire.reasons import BAD_REQUEST, BAD_UPGRADE

MAX_FIELDS: Final = 1_000
"""Maximum fields of a query, the same as in Node.js."""
MAX_EARLY: Final = 64 * 1024
"""Bytes that a client may send between its upgrade request and our 101."""
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class Peer(Protocol):
    """The client of a relayed request, as the first node saw it."""

    @property
    def scheme(self) -> str:
        """`http` or `https`."""

    @property
    def address(self) -> str:
        """The IP address; "" if there is none."""


class UpgradeRequest(asyncio.Protocol):
    """A WebSocket upgrade request without an answer yet. It holds the transport, so that a refusal can still
    be an HTTP status. The app server may take seconds to decide."""

    __slots__ = (
        "__weakref__", "_answered", "_early", "_successor", "_transport", "fields", "on_lost", "path",
        "query_string", "relayed", "source", "target",
    )  # fmt: skip

    def __init__(
        self,
        transport: asyncio.Transport,
        target: str,
        fields: dict[str, list[str]],
        early: bytes,
        source: Source | None = None,
    ) -> None:
        self.relayed: Peer | None = None
        """The client of a request that another node has relayed."""
        self.source = source
        """The client, if a proxy has named it."""
        self.target = target
        """Path and query as received."""
        self.path, _, self.query_string = target.partition("?")
        self.fields = fields
        """The values of each header, by its name in lower case."""
        self.on_lost: Callable[[], None] | None = None
        """Called if the client disconnects before the answer."""
        self._transport = transport
        self._early = early
        self._answered = False
        self._successor: asyncio.BaseProtocol | None = None
        """The protocol of the connection after the 101, or after it was given away."""

    def header(self, name: str) -> str:
        """The first value of a header (lower-case name), or ""."""
        values = self.fields.get(name)
        return values[0] if values else ""

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """All headers, in the form of ASGI. Those with one name stand together."""
        return [
            (name.encode("latin-1"), value.encode("latin-1"))
            for name, values in self.fields.items()
            for value in values
        ]

    def address(self) -> str:
        """The peer's IP address."""
        if self.relayed is not None:
            return self.relayed.address
        if self.source is not None:
            return self.source.address
        peer = self._transport.get_extra_info("peername")
        return str(peer[0]) if isinstance(peer, tuple) else ""

    @property
    def scheme(self) -> str:
        """`https` if the client uses TLS with the service, else `http`."""
        if self.relayed is not None:
            return self.relayed.scheme
        return "http" if self._transport.get_extra_info("ssl_object") is None else "https"

    @property
    def query(self) -> dict[str, list[str]]:
        """The decoded query. Raises `PeerError` (bad-request)."""
        return parse_query(self.query_string)

    @property
    def first_protocol(self) -> str:
        """The first subprotocol that the client offers, or "". Raises `PeerError` (bad-upgrade)."""
        offers = self.fields.get("sec-websocket-protocol")
        if offers is None:
            return ""
        names = [name.strip(" \t") for name in ",".join(offers).split(",")]
        if len(set(names)) < len(names) or not all(map(_TOKEN.fullmatch, names)):
            raise PeerError(BAD_UPGRADE, "Sec-WebSocket-Protocol")
        return names[0]

    @property
    def extensions(self) -> str:
        """The offers of extensions, from all headers."""
        return ",".join(self.fields.get("sec-websocket-extensions", ()))

    def data_received(self, data: bytes) -> None:
        """The client sends data before the 101: keep it, within limits."""
        self._early += data
        if len(self._early) > MAX_EARLY:
            self._transport.pause_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client left before the answer."""
        if self._successor is not None:
            # uvloop tells the end of a TLS connection to the protocol that it had at that moment.
            self._successor.connection_lost(exc)
        elif not self._answered:
            self._answered = True
            on_lost, self.on_lost = self.on_lost, None
            if on_lost is not None:
                on_lost()

    @property
    def transport(self) -> asyncio.Transport:
        """The TCP connection."""
        return self._transport

    def hold(self) -> bytes:
        """Stop reading. Returns the request and the data received behind it, as another node can read it."""
        self._pause()
        lines = [f"GET {self.target} HTTP/1.1".encode("latin-1")]
        lines += [b"%b: %b" % pair for pair in self.headers]
        return b"\r\n".join(lines) + b"\r\n\r\n" + self._early

    def _pause(self) -> None:
        if not self._transport.is_closing() and self._transport.is_reading():
            self._transport.pause_reading()

    def arrived(self, path: str, client: Peer) -> None:
        """Another node has relayed this request, which `client` sent for `path`."""
        self.target, self.path, self.relayed = path + self.target[len(self.path) :], path, client

    def release(self) -> tuple[asyncio.Transport, bytes]:
        """Give the connection away without an answer. Returns it, not reading, and what the client has sent
        behind its request."""
        self._answered = True
        self.on_lost = None
        self._pause()
        return self._transport, self._early

    def succeed(self, protocol: asyncio.BaseProtocol) -> None:
        """The released connection has this protocol now."""
        self._successor = protocol

    def accept(
        self,
        listener: WSListener,
        *,
        max_frame: int,
        first: bytes = b"",
        read_buffer: int = READ_BUFFER,
        ping: bool = False,
        subprotocol: str = "",
        extension: str = "",
    ) -> None:
        """Answer 101 together with `first` (frames), and give the connection to `listener`. With `ping`,
        WebSocket pings check the peer (links only: a client has Engine.IO's heartbeat)."""
        self._answered = True
        self.on_lost = None
        early, self._early = self._early, b""
        self._successor = take_over(
            self._transport,
            listener,
            self.header("sec-websocket-key").encode("latin-1"),
            early,
            max_frame=max_frame,
            first=first,
            read_buffer=read_buffer,
            ping=ping,
            subprotocol=subprotocol,
            extension=extension,
        )

    def refuse(self, error: PeerError, extra: tuple[tuple[bytes, bytes], ...] = ()) -> None:
        """Answer with the reason's HTTP status and body, and close."""
        self.on_lost = None
        if not self._answered:
            self._answered = True
            self._transport.write(plain_response(error, extra))
            self._transport.close()


def begin(
    transport: asyncio.Transport,
    target: str,
    fields: dict[str, list[str]],
    early: bytes,
    *,
    upgrades: Callable[[UpgradeRequest], None],
    metrics: Metrics,
    source: Source | None = None,
) -> None:
    """Handle an upgrade request that was read from `transport`. `fields` are the values of each header, by
    its name in lower case, `early` is the data behind the request, `source` the client that a proxy named."""
    request = UpgradeRequest(transport, target, fields, early, source)
    transport.set_protocol(request)
    key, version = fields.get("sec-websocket-key"), fields.get("sec-websocket-version")
    if not key or len(key[0]) != 24 or not version or version[0] != "13":
        metrics.refusals["http", BAD_UPGRADE.name] += 1
        request.refuse(PeerError(BAD_UPGRADE), ((b"sec-websocket-version", b"13"),))
    else:
        upgrades(request)


def gathered(headers: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """The values of each header, by its name in lower case."""
    found: dict[str, list[str]] = {}
    for name, value in headers:
        found.setdefault(name.lower(), []).append(value)
    return found


def decoded(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, list[str]]:
    """The same of headers in the form of ASGI."""
    return gathered((name.decode("latin-1"), value.decode("latin-1")) for name, value in headers)


def parse_query(query: str) -> dict[str, list[str]]:
    """A request's query. Raises `PeerError` (bad-request) for too many fields. Broken bytes are replaced, as
    in socket.io: most of a client's query is for the app."""
    try:
        return query_of(query, MAX_FIELDS, errors="replace")
    except ValueError:
        raise PeerError(BAD_REQUEST, f"a query of more than {MAX_FIELDS} fields") from None
