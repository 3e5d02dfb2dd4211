"""App servers' links: upgrade requests at `/server/tunnel`, and their WebSockets."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from email.utils import formatdate
from typing import Final

from picows import WSCloseCode, WSFrame, WSListener, WSMsgType, WSTransport

from moorage import auth, logs
from moorage.auth import AccessKeys, AuthSettings
from moorage.edge.azure.channel import Tunnel
from moorage.edge.azure.intake import Reader
from moorage.edge.azure.server import AzureServer
from moorage.edge.http.upgrade import UpgradeRequest, tcp_of
from moorage.edge.messages import Assembler
from moorage.edge.moorage.sessions import Sessions
from moorage.edge.settings import ServerSettings
from moorage.hub.node import Node
from moorage.logs_quota import Quota
from moorage.wire.authority import check_host
from moorage.wire.azure.dataplane import HUB_NAME
from moorage.wire.errors import PeerError
from moorage.wire.moorage import v1
from moorage.wire.reasons import (
    DRAINING,
    INTERNAL,
    LINK_BAD_FRAME,
    LINK_CLOSED,
    LINK_FRAME_TOO_LARGE,
    LINK_LOST,
    LINK_SERVER_TAKEN,
    LINK_SLOW,
    LINK_TOO_MANY,
    LINK_UNKNOWN_DIALECT,
    PAYLOAD_TOO_LARGE,
    TOKEN_AUDIENCE,
    TOKEN_CLAIMS,
    UNKNOWN_HUB,
    Reason,
)

PATH: Final = "/server/tunnel"
WIRE_LIMIT: Final = 100 * 1024 * 1024
"""Bytes of one WebSocket message, the SDK's own ceiling. Calls above `links.max_frame` are
answered with 413 instead: closing the link would leave them unanswered, and the SDK waiting."""
MAX_SERVER_ID: Final = 128
READ_BUFFER: Final = 128 * 1024
"""A link is one of few and carries everything: one read should take all that has come."""
CLOSE_SECONDS: Final = 5.0
# Compared for every frame: a global is one look-up, an attribute of the enumeration two.
_BINARY: Final = WSMsgType.BINARY
_CLOSE: Final = WSMsgType.CLOSE
_PING: Final = WSMsgType.PING
_PONG: Final = WSMsgType.PONG
_OURS: Final = {
    WSCloseCode.MESSAGE_TOO_BIG: LINK_FRAME_TOO_LARGE,
    WSCloseCode.PROTOCOL_ERROR: LINK_BAD_FRAME,
    WSCloseCode.INVALID_TEXT: LINK_BAD_FRAME,
    WSCloseCode.INTERNAL_ERROR: INTERNAL,
}

log: Final = logs.get("link")


class LinkSocket(WSListener):
    """One link's WebSocket under a `Tunnel`."""

    def __init__(self, acceptor: LinkAcceptor, reader: Reader, tunnel_id: str, limit: int) -> None:
        self._acceptor = acceptor
        self._server = reader.server
        self._reader = reader
        self._assembler: Assembler | None = None
        self._transport: WSTransport | None = None
        self._closed_by: Reason | None = None
        self._broken = False
        self.tunnel = Tunnel(
            tunnel_id, write=self._write, close=self._close, limit=limit, metrics=acceptor.node.metrics
        )

    def on_ws_connected(self, transport: WSTransport) -> None:
        """The link is up."""
        self._transport = transport
        self._server.tunnel_opened(self.tunnel, self._acceptor.clock())
        log.info("link opened", **self._fields())

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """One frame: a tunnel frame, a fragment of one, or the end. What follows from all frames
        of one read leaves right after the last: scheduling it for the end of the tick would cost
        another turn of the loop and a poll of the kernel."""
        if self._broken:
            # One bad frame is enough. What came with it in one piece would only fill the log.
            return
        kind = frame.msg_type
        self._server.cork()
        self._acceptor.node.flusher.cork()
        try:
            if kind == _BINARY and frame.fin and self._assembler is None:
                self._reader.take(self, frame.get_payload_as_bytes(), self._acceptor.clock())
            elif kind == _CLOSE:
                self._reader.close(self)
            elif kind == _PING:
                if not self.tunnel.congested:
                    transport.send_pong(frame.get_payload_as_bytes())
            elif kind != _PONG:
                self._fragment(frame)
        except PeerError as error:
            self.broke(error)
        finally:
            if frame.last_in_buffer or self._broken:
                self._uncork()

    def broke(self, error: PeerError) -> None:
        """End it: a frame of it cannot be read."""
        if self._broken:
            return
        self._broken = True
        log.warning("bad frame", detail=error.message, **self._fields())
        self.tunnel.close(LINK_FRAME_TOO_LARGE if error.reason is PAYLOAD_TOO_LARGE else LINK_BAD_FRAME)

    def is_user_specific_pong(self, frame: WSFrame) -> bool:
        """picows keeps the pongs that it waits for to itself: one may be the last of a read."""
        if frame.msg_type != _PONG:
            return False
        if frame.last_in_buffer:
            self._uncork()
        return True

    def _uncork(self) -> None:
        if self._server.intake.jobs:
            self._reader.end_of_read()
        self._reader.count = 0
        # The clients first: somebody waits for what they get. The app server gets answers to its calls,
        # and while they are written, a client may have said the next thing already: the loop then reads
        # it without having slept (0.95x CPU a round trip of one client, ten paired rounds).
        self._acceptor.node.flusher.run()
        self._server.flush()

    def _fragment(self, frame: WSFrame) -> None:
        if self._assembler is None:
            self._assembler = Assembler(WIRE_LIMIT)
        message = self._assembler.add(frame)
        if message is not None:
            self._assembler = None
            kind, data = message
            if kind != _BINARY:
                raise PeerError(LINK_BAD_FRAME, "text")
            self._reader.take(self, data, self._acceptor.clock())

    def goodbye(self) -> None:
        """The app server says goodbye. Everything it asked before is answered already; its open
        streams must end before our close frame, while it still listens."""
        if self._server.tunnels == 1:
            self._server.calls.end_streams()
        self._server.flush()
        if self._transport is not None and not self._transport.is_close_frame_sent:
            self._transport.send_close(WSCloseCode.OK)
            self._transport.disconnect()
            self._acceptor.closing[self] = self._acceptor.clock() + CLOSE_SECONDS
        self._lost(LINK_CLOSED)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """The TCP connection is gone. picows has closed it itself on a broken WebSocket frame: its
        close code tells."""
        self._acceptor.closing.pop(self, None)
        self._acceptor.paused.pop(self, None)
        self._reader.gone(self)
        handshake = transport.close_handshake
        sent = handshake.sent if handshake else None
        self._lost(LINK_LOST if sent is None else _OURS.get(sent.code, LINK_LOST))

    def _lost(self, reason: Reason) -> None:
        if self._closed_by is None and self.tunnel.open:
            self._ended(reason)
        self._server.tunnel_lost(self.tunnel, self._acceptor.clock())

    def _ended(self, reason: Reason) -> None:
        if reason not in (LINK_CLOSED, LINK_LOST, DRAINING):
            self._acceptor.node.metrics.refusals["link", reason.name] += 1
        log.info("link ended", reason=reason.name, number=reason.number, **self._fields())

    def pause_writing(self) -> None:
        """The app server does not keep up: stop reading from its clients, too."""
        self.tunnel.congested = True

    def resume_writing(self) -> None:
        """It does again."""
        self.tunnel.congested = False
        self.tunnel.flush()
        self._server.resume_clients()

    def pause_reading(self) -> None:
        """Leave what comes to the kernel: enough waits to be carried out."""
        if self._transport is not None and not self._transport.is_disconnected:
            tcp_of(self._transport).pause_reading()
            self._acceptor.paused[self] = None

    def resume_reading(self) -> None:
        """Read on."""
        self._acceptor.paused.pop(self, None)
        if self._transport is not None and not self._transport.is_disconnected:
            tcp_of(self._transport).resume_reading()

    def not_read(self) -> None:
        """Called a few times a second while reading is paused: a pong may be among what is not read."""
        if self._transport is not None and not self._transport.is_disconnected:
            self._transport.notify_user_specific_pong_received()

    def _write(self, data: bytes) -> None:
        assert self._transport is not None
        tcp_of(self._transport).write(data)

    def _close(self, reason: Reason) -> None:
        self._closed_by = reason
        self._ended(reason)
        if reason is LINK_SLOW:
            # A polite close would wait behind what it does not read, and its clients with it.
            self.abort()
        elif self._transport is not None and not self._transport.is_disconnected:
            self._transport.send_close(WSCloseCode(reason.ws), reason.name.encode())
            self._transport.disconnect()
            self._acceptor.closing[self] = self._acceptor.clock() + CLOSE_SECONDS

    def abort(self) -> None:
        """Cut it off."""
        if self._transport is not None:
            self._transport.disconnect(graceful=False)

    def _fields(self) -> dict[str, object]:
        return {"hub": self._server.hub.name, "server": self._server.app.id, "link": self.tunnel.id}


class LinkAcceptor:
    """Checks who opens a link, and joins it to its app server."""

    def __init__(
        self,
        *,
        node: Node,
        keys: AccessKeys,
        auth_settings: AuthSettings,
        server: ServerSettings,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
        node_id: str,
        new_ack: Callable[[], int],
    ) -> None:
        self.node = node
        self.clock = clock
        self.closing: dict[LinkSocket, float] = {}
        self.paused: dict[LinkSocket, None] = {}
        """Links that are not read now."""
        self._keys = keys
        self._auth = auth_settings
        self._settings = server
        self._wall_clock = wall_clock
        self._new_ack = new_ack
        self._servers: dict[tuple[str, str], AzureServer] = {}
        self._readers: dict[AzureServer, Reader] = {}
        self._refusals = Quota(rate=1.0, burst=20.0)
        """Limits the lines about refused links."""
        loop = asyncio.get_running_loop()
        self._moorage = Sessions(
            node, node_id=node_id, clock=clock, wall_clock=wall_clock, later=loop.call_soon
        )

    @property
    def suppressed(self) -> int:
        """Lines about refused links that were not written."""
        return self._refusals.suppressed

    def links(self) -> dict[tuple[str, str], int]:
        """Open links by hub and dialect, for the metrics."""
        counts = {(hub, "moorage"): n for hub, n in self._moorage.links().items()}
        for server in self._servers.values():
            key = (server.hub.name, "azure")
            counts[key] = counts.get(key, 0) + server.tunnels
        return counts

    def drain(self, seconds: float) -> None:
        """The service will stop. The azure dialect has no word for it."""
        self._moorage.drain(seconds)

    def upgrade(self, request: UpgradeRequest) -> None:
        """An app server asks for a link."""
        try:
            if self._is_ours(request):
                self._open_ours(request)
            else:
                self._open_azure(request)
        except PeerError as error:
            self.node.metrics.refusals["link", error.reason.name] += 1
            # Nobody has shown a key yet.
            if self._refusals.allows(self.clock()):
                log.info("link refused", reason=error.reason.name, detail=error.message)
            # An app server whose clock is wrong can tell by how much.
            request.refuse(error, ((b"date", formatdate(self._wall_clock(), usegmt=True).encode()),))

    def _open_ours(self, request: UpgradeRequest) -> None:
        hub, server_id = self._check(request)
        if len(server_id) > MAX_SERVER_ID:
            raise PeerError(TOKEN_CLAIMS, f"sub, the app server's id, has at most {MAX_SERVER_ID} characters")
        if self.node.draining and not self._moorage.knows(hub, server_id):
            # One that has been cut off may come back for the rest of the time: its clients are here.
            raise PeerError(DRAINING)
        socket = self._moorage.socket(hub, server_id)
        limit, dialect = self.node.links.max_frame, v1.SUBPROTOCOL
        request.accept(socket, max_frame=limit, read_buffer=READ_BUFFER, ping=True, subprotocol=dialect)

    def _open_azure(self, request: UpgradeRequest) -> None:
        checked = self._check(request)
        if self.node.draining:
            raise PeerError(DRAINING)
        server = self._server(*checked)
        if server.tunnels >= self.node.links.max_links_per_server:
            raise PeerError(LINK_TOO_MANY, f"at most {self.node.links.max_links_per_server}")
        reader = self._readers[server]
        socket = LinkSocket(self, reader, self.node.new_id(), self.node.limits.outbox_bytes_link)
        request.accept(socket, max_frame=WIRE_LIMIT, read_buffer=READ_BUFFER, ping=True)

    @staticmethod
    def _is_ours(request: UpgradeRequest) -> bool:
        """The moorage dialect goes by a subprotocol, azure by none. Raises `PeerError` for others."""
        asked = request.header(b"sec-websocket-protocol")
        if asked and v1.SUBPROTOCOL not in (name.strip() for name in asked.split(",")):
            raise PeerError(LINK_UNKNOWN_DIALECT, f"{asked[:64]}; this service knows {v1.SUBPROTOCOL}")
        return bool(asked)

    def _check(self, request: UpgradeRequest) -> tuple[str, str]:
        """The hub and the server id. Raises `PeerError`."""
        query = request.query
        hub = query.get("hub", [""])[0]
        if not HUB_NAME.fullmatch(hub):
            raise PeerError(UNKNOWN_HUB, hub[:128])
        token = query.get("access_token", [""])[0]
        if not token:
            token = auth.bearer(request.header(b"authorization"))
        # An app server may come by the public address, or by another one that leads here: a key signed the
        # address that it wants to reach, so it is no stranger who chooses it.
        bases = [at for at in (self._settings.public_endpoint, request.header(b"host")) if at]
        audience = auth.tunnel_audience(bases, request.query_string)
        try:
            claims = auth.verify(token, self._keys, audience, self._wall_clock(), self._auth.clock_skew)
        except PeerError as error:
            if error.reason is TOKEN_AUDIENCE:
                fix = "the connection string's Endpoint must name the service by this address"
                raise PeerError(error.reason, f"{error.detail}; {fix}") from None
            raise
        check_host(value.decode("latin-1") for name, value in request.headers if name == b"host")
        if not claims.user_id:
            raise PeerError(TOKEN_CLAIMS, "sub, the id of the app server, is missing")
        self.node.hub_settings(hub)
        return hub, claims.user_id

    def _server(self, hub_name: str, server_id: str) -> AzureServer:
        hub = self.node.ensure_hub(hub_name)
        known = self._servers.get((hub.name, server_id))
        if known is not None and hub.servers.get(server_id) is known.app:
            return known
        loop = asyncio.get_running_loop()
        other = hub.servers.get(server_id)
        if other is not None and other.dialect != "azure":
            if other.up:
                raise PeerError(LINK_SERVER_TAKEN, server_id[:128])
            self._moorage.evict(hub, server_id)
            hub = self.node.ensure_hub(hub_name)
        server = AzureServer(
            self.node, hub, server_id, later=lambda: loop.call_soon(server.flush), first_ack=self._new_ack()
        )
        self._servers[hub.name, server_id] = server
        self._readers[server] = Reader(server)
        hub.servers.add(server.app)
        return server

    def tick(self, now: float) -> None:
        """Time passes for all app servers; forget those that were given up."""
        self._moorage.tick(now)
        missed = self._refusals.report(now)
        if missed:
            log.info("lines suppressed", of="refused links", count=missed)
        for key, server in tuple(self._servers.items()):
            server.tick(now)
            if server.hub.servers.get(server.app.id) is not server.app:
                del self._servers[key]
                self._readers.pop(server, None)
        for socket in tuple(self.paused):
            socket.not_read()
        for socket, deadline in tuple(self.closing.items()):
            if deadline <= now:
                del self.closing[socket]
                socket.abort()

    def close(self) -> None:
        """The service stops: end all links. The app servers' SDKs dial again until it is back."""
        self._moorage.close()
        for server in self._servers.values():
            server.close_all()
