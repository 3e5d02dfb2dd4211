"""App servers' links: upgrade requests at `/server/tunnel`, and their WebSockets."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from email.utils import formatdate
from functools import partial
from typing import Final

from moorage import auth, logs
from moorage.auth import AccessKeys, AuthSettings
from moorage.edge.azure.link import MAX_MESSAGE, AzureSocket, Reader
from moorage.edge.azure.server import AzureServer
from moorage.edge.http.upgrade import UpgradeRequest
from moorage.edge.moorage.coverage import Homes
from moorage.edge.moorage.sessions import Sessions
from moorage.edge.moorage.tracing import Spans
from moorage.edge.relay.relay import Relay
from moorage.edge.settings import LinkSettings, ServerSettings
from moorage.edge.sockets import Sweep
from moorage.hub.hub import AppServer, Hub
from moorage.hub.node import Node
from moorage.logs_quota import Quota
from moorage.metrics.metrics import Metrics
from moorage.wire import reasons
from moorage.wire.authority import check_host
from moorage.wire.azure.dataplane import HUB_NAME
from moorage.wire.errors import PeerError
from moorage.wire.moorage import v1

PATH: Final = "/server/tunnel"
MAX_SERVER_ID: Final = 128
READ_BUFFER: Final = 128 * 1024
"""Bytes of one read of a link. Links are few and carry the packets of all clients, so one read should take
everything that has come."""
log: Final = logs.get("link")


class LinkAcceptor:
    """Checks who may open a link, and connects the link to its app server."""

    def __init__(
        self,
        *,
        node: Node,
        metrics: Metrics,
        keys: AccessKeys,
        auth_settings: AuthSettings,
        server: ServerSettings,
        settings: LinkSettings,
        max_waiting: int,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
        relay: Relay,
    ) -> None:
        self.node = node
        self.metrics = metrics
        self.clock = clock
        self._sweep = Sweep(clock)
        self._keys = keys
        self._auth = auth_settings
        self._public_endpoint = server.public_endpoint
        self._settings = settings
        self._max_waiting = max_waiting
        self._wall_clock = wall_clock
        self._relay = relay
        self._servers: dict[tuple[str, str], AzureServer] = {}
        self._readers: dict[AzureServer, Reader] = {}
        self._refusals = Quota(rate=1.0, burst=20.0)
        """Limits the log lines about refused links."""
        self._moorage = Sessions(
            node,
            metrics,
            settings,
            max_waiting,
            node_id=relay.own,
            clock=clock,
            wall_clock=wall_clock,
            later=node.flushes.add,
        )

    def trace(self, spans: Spans) -> None:
        """Sample clients' events for traces. Call it before the first link."""
        self._moorage.spans = spans

    def join(self, homes: Homes) -> None:
        """The node belongs to a cluster. Call it before the first link."""
        self._moorage.homes = homes

    @property
    def suppressed(self) -> int:
        """Number of log lines about refused links that were not written."""
        return self._refusals.suppressed

    def links(self) -> dict[tuple[str, str], int]:
        """Open links by hub and dialect, for the metrics."""
        counts = {(hub, "moorage"): n for hub, n in self._moorage.links().items()}
        for server in self._servers.values():
            key = (server.hub.name, "azure")
            counts[key] = counts.get(key, 0) + server.tunnels
        return counts

    def drain(self, seconds: float) -> None:
        """Tell the app servers that the service will stop. The azure dialect has no frame for this."""
        self._moorage.drain(seconds)

    @property
    def settled(self) -> bool:
        """True if each app server with a link has taken everything that was queued for it."""
        return self._moorage.settled and all(server.settled for server in self._servers.values())

    def upgrade(self, request: UpgradeRequest) -> None:
        """Accept or refuse an app server's request for a link."""
        try:
            if self._is_ours(request):
                self._open_ours(request)
            else:
                self._open_azure(request)
        except PeerError as error:
            self._refuse(request, error)

    def _refuse(self, request: UpgradeRequest, error: PeerError) -> None:
        self.metrics.refusals["link", error.reason.name] += 1
        # The peer may be a stranger, so the number of these lines is limited.
        if self._refusals.allows(self.clock()):
            log.info("link refused", reason=error.reason.name, detail=error.message)
        # An app server with a wrong clock can see the difference.
        request.refuse(error, ((b"date", formatdate(self._wall_clock(), usegmt=True).encode()),))

    def _open_ours(self, request: UpgradeRequest) -> None:
        hub, server_id = self._check(request)
        if len(server_id) > MAX_SERVER_ID:
            raise PeerError(
                reasons.TOKEN_CLAIMS, f"the app server's id (sub) exceeds {MAX_SERVER_ID} characters"
            )
        named = _node_of(request.query)
        if named not in ("", self._relay.own):
            # A dial came through a load balancer to the wrong node.
            refuse = partial(self._refuse, request, PeerError(reasons.LINK_SESSION_GONE))
            if not self._relay.upgrade(named, request, refuse):
                refuse()
            return
        if self.node.draining and not self._moorage.knows(hub, server_id):
            # An app server whose clients are here may resume its session until the service stops.
            raise PeerError(reasons.DRAINING)
        socket = self._moorage.socket(hub, server_id)
        limit, dialect = self._settings.max_frame, v1.SUBPROTOCOL
        request.accept(socket, max_frame=limit, read_buffer=READ_BUFFER, ping=True, subprotocol=dialect)

    def _open_azure(self, request: UpgradeRequest) -> None:
        hub, server_id = self._check(request)
        node = self._node_with(hub, server_id)
        # If the other node cannot be reached, it is most likely gone.
        if not node or not self._relay.upgrade(node, request, partial(self._open_here, request)):
            self._take_azure(request, hub, server_id)

    def _node_with(self, hub_name: str, server_id: str) -> str:
        """The node that has the other links of this app server in the azure dialect; "" for this one. They
        must all end at one node, because the SDK sends each call and answer over any of them."""
        hub = self.node.hub(hub_name)
        if hub is None:
            return ""
        here, there = hub.servers.get(server_id), hub.servers.get_elsewhere(server_id)
        if there is None or there.dialect != "azure" or there.draining:
            return ""
        # Without a link, each side keeps its clients for the grace time. Here they need no detour.
        return "" if here is not None and (here.up or not there.up) else there.node

    def _open_here(self, request: UpgradeRequest) -> None:
        try:
            self._take_azure(request, *self._check(request))
        except PeerError as error:
            self._refuse(request, error)

    def _take_azure(self, request: UpgradeRequest, hub: str, server_id: str) -> None:
        if self.node.draining:
            raise PeerError(reasons.DRAINING)
        server = self._server(hub, server_id)
        if server.tunnels >= self._settings.max_links_per_server:
            raise PeerError(reasons.LINK_TOO_MANY, f"at most {self._settings.max_links_per_server}")
        socket = AzureSocket(self._readers[server], self.node.new_id(), self._max_waiting, self._sweep)
        request.accept(socket, max_frame=MAX_MESSAGE, read_buffer=READ_BUFFER, ping=True)

    @staticmethod
    def _is_ours(request: UpgradeRequest) -> bool:
        """True for the subprotocol of the moorage dialect, False for none (azure). Raises `PeerError` for
        others."""
        asked = request.header("sec-websocket-protocol")
        if asked and v1.SUBPROTOCOL not in (name.strip() for name in asked.split(",")):
            raise PeerError(
                reasons.LINK_UNKNOWN_DIALECT, f"{asked[:64]}; this service knows {v1.SUBPROTOCOL}"
            )
        return bool(asked)

    def _check(self, request: UpgradeRequest) -> tuple[str, str]:
        """The hub and the server id. Raises `PeerError`."""
        query = request.query
        hub = query.get("hub", [""])[0]
        if not HUB_NAME.fullmatch(hub):
            raise PeerError(reasons.UNKNOWN_HUB, hub[:128])
        token = query.get("access_token", [""])[0]
        if not token:
            token = auth.bearer(request.header("authorization"))
        # An app server may use the public address or another address of the service. Its key has signed the
        # address, so no stranger can choose it.
        bases = [at for at in (self._public_endpoint, request.header("host")) if at]
        audience = auth.tunnel_audience(bases, request.query_string)
        try:
            claims = auth.verify(token, self._keys, audience, self._wall_clock(), self._auth.clock_skew)
        except PeerError as error:
            if error.reason is reasons.TOKEN_AUDIENCE:
                fix = "the connection string's Endpoint must name the service by this address"
                raise PeerError(error.reason, f"{error.detail}; {fix}") from None
            raise
        check_host(request.fields.get("host", ()))
        if not claims.user_id:
            raise PeerError(reasons.TOKEN_CLAIMS, "the app server's id (sub) is missing")
        self.node.hub_settings(hub)
        return hub, claims.user_id

    def _server(self, hub_name: str, server_id: str) -> AzureServer:
        hub = self.node.ensure_hub(hub_name)
        known = self._servers.get((hub.name, server_id))
        if known is not None and hub.servers.get(server_id) is known.app:
            return known
        other = hub.servers.get(server_id)
        if other is not None and other.dialect != "azure":
            if other.up:
                raise PeerError(reasons.LINK_SERVER_TAKEN, server_id[:128])
            self._moorage.evict(hub, server_id)
            hub = self.node.ensure_hub(hub_name)
        server = AzureServer(
            self.node,
            self.metrics,
            self._settings,
            hub,
            server_id,
            later=lambda: self.node.flushes.add(server.flush),
            first_ack=secrets.randbelow(2**30) + 1,
        )
        self._servers[hub.name, server_id] = server
        self._readers[server] = Reader(server)
        hub.servers.add(server.app)
        return server

    def tick(self, now: float) -> None:
        """Check the deadlines of all app servers, and forget those that were given up."""
        self._moorage.tick(now)
        missed = self._refusals.report(now)
        if missed:
            log.info("lines suppressed", of="refused links", count=missed)
        for key, server in tuple(self._servers.items()):
            self.node.guard("links", server.tick, now)
            if server.hub.servers.get(server.app.id) is not server.app:
                del self._servers[key]
                self._readers.pop(server, None)
            elif self._must_move(server.app, server.hub):
                self.node.guard("links", server.give_up)
            else:
                self._readers[server].tick()
        self._sweep.tick(now)

    def _must_move(self, app: AppServer, hub: Hub) -> bool:
        """True if an app server has links at two nodes, and those of this one must end. That happens if two
        nodes got a first link at the same moment."""
        if not app.up or app.draining or not hub.servers.elsewhere or self.node.draining:
            return False
        there = hub.servers.get_elsewhere(app.id)
        return (
            there is not None
            and there.up
            and not there.draining
            and there.dialect == "azure"
            and there.node < self._relay.own
            and self._relay.reaches(there.node)
        )

    def close(self) -> None:
        """The service stops: close all links. The app servers' SDKs dial again until it is back."""
        self._moorage.close()
        for server in self._servers.values():
            server.close_all()


def _node_of(query: dict[str, list[str]]) -> str:
    """The node that an app server wants a link to, by its incarnation or by the id of the session that it
    wants to resume; "" for any."""
    return (query.get("node") or query.get("session") or [""])[0].partition("~")[0]
