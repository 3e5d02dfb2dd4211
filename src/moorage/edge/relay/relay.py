"""Hands requests over to the node that owns their session. A session belongs to the node whose incarnation
its id begins with, for its whole life, and a load balancer may send any request to any node.

Nothing here runs for a request whose session is on this node: the callers look there first. A request that
was relayed is never relayed again. If its owner is unknown, gone or does not answer, the caller refuses it as
`unknown-sid`, and the client begins a new session.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from moorage import logs
from moorage.auth import AccessKeys
from moorage.edge.http.asgi import GoneError, Receive, Scope
from moorage.edge.http.protocol import HttpProtocol
from moorage.edge.http.replies import Send
from moorage.edge.http.upgrade import UpgradeRequest
from moorage.edge.relay.exchange import Exchange
from moorage.edge.relay.heads import MAX_HEAD, request_head
from moorage.edge.relay.hop import HEADER, Headers, Hops, Peer, Request
from moorage.edge.relay.passing import Passing
from moorage.edge.relay.tunnel import STUCK_SECONDS, Side, join, keep_alive
from moorage.edge.tcp.header import Source, proxy_header
from moorage.edge.tcp.narrow import secured
from moorage.edge.unconfirmed import TRANSPORT
from moorage.wire.ids import incarnation_of

CONNECT_SECONDS: Final = 2.0
METHODS: Final = ("GET", "POST")
LOG_SECONDS: Final = 10.0
"""Shortest time between two lines in the log about headers that are not genuine."""
RELAYED: Final = "moorage.relayed"
"""Key in `extensions` of the scope of a request that another node has relayed."""
_UNREACHABLE: Final = (OSError, TimeoutError, ValueError)
"""Errors of connecting. `ValueError`: the other node has announced an address that is no URL."""

log: Final = logs.get("relay")


class Relay:
    """Relays of one node, both those that leave and those that arrive. `address_of` gives the base URL of the
    node with an incarnation, or "" if it is unknown. At most `limit` relays are open at a time."""

    def __init__(
        self, keys: AccessKeys, own: str, address_of: Callable[[str], str], *, limit: int, ca_file: str = ""
    ) -> None:
        self._hops = Hops(keys, own)
        self.own = own
        self._address_of = address_of
        self._limit = limit
        self.passing: Passing | None = None
        """Passes connections to the other nodes of this machine; None if this node has none."""
        self.folder: Path | None = None
        """Where the nodes of this machine listen for what is relayed (`local_socket`). TLS cannot be passed:
        its keys are in this process."""
        self._tls = Trust(ca_file)
        self._relayed = self._refused = 0
        self._logged = -LOG_SECONDS
        self._requests = 0
        self._sides: set[Side] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def open(self) -> int:
        """Number of requests and WebSockets that are being relayed from here."""
        return self._requests + (len(self._sides) + 1) // 2

    def tick(self, _now: float) -> None:
        """Cut off connections that do not end."""
        now = asyncio.get_running_loop().time()
        for side in tuple(self._sides):
            side.check(now)

    def close(self) -> None:
        """The service stops."""
        for task in tuple(self._tasks):
            task.cancel()
        for side in tuple(self._sides):
            side.close()
        if self.passing is not None:
            self.passing.close()

    @property
    def counts(self) -> tuple[int, int, int]:
        """Relays that are open, all relays so far, and connections passed to nodes of this machine."""
        return self.open, self._relayed, 0 if self.passing is None else self.passing.passed

    def reload(self, ca_file: str) -> None:
        """Recognise other nodes by the certificates in this file, on connections that begin from now on."""
        self._tls = Trust(ca_file)

    @property
    def _has_room(self) -> bool:
        return self.open + len(self._tasks) < self._limit

    def reaches(self, node: str) -> bool:
        """True if connections can be handed over to this node."""
        passing = self.passing
        return self._way(node) is not None or (passing is not None and passing.reaches(node))

    def _way(self, node: str) -> Path | str | None:
        """The Unix socket of a node on this machine, or the URL of another node."""
        if self.folder is not None and os.sep not in node:
            path = local_socket(self.folder, node)
            if path.exists():
                return path
        return self._address_of(node) or None

    # -- requests that leave --------------------------------------------------------------------------

    async def request(self, sid: str | None, scope: Scope, receive: Receive, send: Send) -> bool:
        """Have the node of this session answer a polling request. False if that is not possible."""
        if sid is None or RELAYED in scope["extensions"] or scope["method"] not in METHODS:
            return False
        node = incarnation_of(sid)
        if node == self.own:
            return False
        if self.passing is not None and await self._pass_request(self.passing, node, scope, receive):
            return True
        way = self._way(node)
        return way is not None and self._has_room and await self._relay(node, way, scope, receive, send)

    @staticmethod
    async def _pass_request(passing: Passing, node: str, scope: Scope, receive: Receive) -> bool:
        transport: asyncio.Transport = scope["extensions"][TRANSPORT]
        protocol = transport.get_protocol()
        cycle = getattr(receive, "__self__", None)
        if not isinstance(protocol, HttpProtocol) or not isinstance(cycle, RequestResponseCycle):
            return False
        if _is_tls(transport):
            return False
        data = protocol.hold(cycle)
        if data is None:
            return False
        if not await passing.give(node, _descriptor(transport), _header(protocol.source) + data):
            protocol.go_on()
            return False
        protocol.let_go(cycle)
        return True

    async def _relay(self, node: str, way: Path | str, scope: Scope, receive: Receive, send: Send) -> bool:
        method, query = scope["method"], scope["query_string"].decode("latin-1")
        target = f"{scope['path']}?{query}"
        client = scope["client"]
        peer = Peer(scope["scheme"], client[0] if client else "")
        hop = self._hops.sign(node, Request.of(method, target, scope["headers"]), peer)
        head = request_head(method, target, scope["headers"], hop, upgrade=False)
        self._requests += 1
        self._relayed += 1
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                if isinstance(way, Path):
                    reader, writer = await asyncio.open_unix_connection(str(way), limit=MAX_HEAD)
                else:
                    host, port, tls = self._tls.parts(way)
                    reader, writer = await asyncio.open_connection(host, port, ssl=tls, limit=MAX_HEAD)
                    keep_alive(writer.transport)
            return await Exchange(reader, writer).run(head, scope, receive, send)
        except GoneError:
            return True
        except _UNREACHABLE:
            return False
        finally:
            self._requests -= 1

    def upgrade(self, sid: str | None, request: UpgradeRequest, refuse: Callable[[], None]) -> bool:
        """Have the node of this session answer a WebSocket upgrade. False if that is not possible. If it
        turns out later, `refuse` is called."""
        if sid is None or request.relayed:
            return False
        node = incarnation_of(sid)
        if node == self.own or not self._has_room or not (self.passing or self._way(node)):
            return False
        task = asyncio.ensure_future(self._hand_over(node, request, refuse))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        request.on_lost = partial(_cancel, task)
        return True

    async def _hand_over(self, node: str, request: UpgradeRequest, refuse: Callable[[], None]) -> None:
        transport = request.transport
        if self.passing is not None and not _is_tls(transport):
            data = _header(request.source) + request.hold()
            if await self.passing.give(node, _descriptor(transport), data):
                request.release()
                transport.abort()
                return
        owner = await self._owner(node)
        if owner is None:
            refuse()
            return
        peer = Peer(request.scheme, request.address())
        hop = self._hops.sign(node, Request.of("GET", request.target, request.headers), peer)
        head = request_head("GET", request.target, request.headers, hop, upgrade=True)
        self._relayed += 1
        transport, early = request.release()
        client = join(transport, owner, self._sides.discard)
        request.succeed(client)
        self._sides |= {owner, client}
        owner.transport.write(head + early)

    async def _owner(self, node: str) -> Side | None:
        """A TCP connection to the owner of an upgrade."""
        way = self._way(node)
        if way is None:
            return None
        owner, loop = Side(self._sides.discard), asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                if isinstance(way, Path):
                    await loop.create_unix_connection(lambda: owner, str(way))
                else:
                    await _connect(owner, *self._tls.parts(way))
        except _UNREACHABLE:
            return None
        if owner.transport.is_closing():
            return None
        if isinstance(way, str):
            keep_alive(owner.transport)
        return owner

    # -- requests that arrive -------------------------------------------------------------------------

    def arrived(self, method: str, target: str, headers: Headers) -> Peer | None:
        """The client of a request on the nodes' path; None if it does not come from a node of this cluster
        for this node. `target` is without `PREFIX`."""
        values = [value for name, value in headers if name == HEADER]
        found = None
        if len(values) == 1:
            found = self._hops.verify(values[0], Request.of(method, target, headers))
        if values and found is None:
            self._refuse()
        return found

    def _refuse(self) -> None:
        """A header is not genuine. Some are logged: the nodes may have different access keys."""
        self._refused += 1
        now = asyncio.get_running_loop().time()
        if now - self._logged >= LOG_SECONDS:
            self._logged = now
            log.warning(
                "relayed request refused: its header is forged, was used before, or is signed by a node with "
                "other access keys",
                refused=self._refused,
            )


async def _connect(owner: Side, host: str, port: int, tls: ssl.SSLContext | None) -> None:
    """Connect to a node of another machine. Raises what `_UNREACHABLE` has."""
    loop = asyncio.get_running_loop()
    if tls is None:
        await loop.create_connection(lambda: owner, host, port)
        return
    make, done = secured(owner, tls, handshake=CONNECT_SECONDS, shutdown=STUCK_SECONDS, host=host)
    tcp, _ = await loop.create_connection(make, host, port)
    try:
        await done
    except BaseException:
        tcp.abort()
        raise


def _descriptor(transport: asyncio.Transport) -> int:
    return int(transport.get_extra_info("socket").fileno())


def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()


def _is_tls(transport: asyncio.Transport) -> bool:
    return transport.get_extra_info("ssl_object") is not None


def _header(source: Source | None) -> bytes:
    """The PROXY header that names the client of a passed connection, if a proxy has named it to this node."""
    return b"" if source is None else proxy_header(source)


def local_socket(folder: Path, node: str) -> Path:
    """Where a node of this machine takes relayed requests."""
    return folder / f"{node}.http"


class Trust:
    """How to speak TLS with other nodes: their certificates are signed by those in `ca_file`, or by an
    authority that the system knows."""

    def __init__(self, ca_file: str) -> None:
        self._ca_file = ca_file
        self._context: ssl.SSLContext | None = None

    def parts(self, url: str) -> tuple[str, int, ssl.SSLContext | None]:
        """Host and port of a base URL, and the context if it begins with https."""
        parts = urlsplit(url)
        tls = parts.scheme == "https"
        if tls and self._context is None:
            self._context = ssl.create_default_context(cafile=self._ca_file or None)
        return parts.hostname or "", parts.port or (443 if tls else 80), self._context if tls else None
