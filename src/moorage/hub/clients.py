"""The hubs of one process, and the life of their connections from the first request to the end.

Nothing here waits, opens a socket or reads a clock on its own. The shells (`edge`, `control`) bring bytes and
time in; what is to be written, opened and closed goes out through the ports.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, Literal, Protocol

from moorage.engine.peer import Answer, Forward
from moorage.engine.session import Closed, Event, Pong
from moorage.engine.upgrade import State, Step
from moorage.hub.bursts import Bursts
from moorage.hub.connection import BURST, Connection
from moorage.hub.heartbeat import Heartbeats
from moorage.hub.hub import Hub
from moorage.hub.links import AppServer
from moorage.hub.outbox import Flusher
from moorage.hub.ports import Cluster, Later, Opening
from moorage.hub.settings import HubSettings, Limits, LinkSettings
from moorage.hub.turns import Intake, Job, Turns
from moorage.wire.errors import PeerError
from moorage.wire.groups import namespace_group
from moorage.wire.handshake import Handshake, OpenInfo
from moorage.wire.reasons import (
    APP_LOST,
    CLIENT_CLOSED,
    DRAINING,
    NO_APP_SERVER,
    PING_TIMEOUT,
    SLOW_CLIENT,
    TOO_MANY_CONNECTIONS,
    TOO_MANY_GROUPS,
    TRANSPORT_LOST,
    UNKNOWN_HUB,
    Reason,
)

if TYPE_CHECKING:
    # Names only: at run time the counters are handed in, and the metrics library stays outside.
    from moorage.metrics import Metrics

AT_ONCE: Final = 50
"""Clients that are closed in one step. Each costs about 20 us, with its write and its log line."""

Who = Literal["client", "app", "service", "api"]


class DisconnectLog(Protocol):
    """Writes one log line per disconnect."""

    def __call__(
        self, connection: Connection, reason: Reason, *, who: Who, detail: str, age: float, queued: int
    ) -> None: ...


class Clients:
    """Owns the hubs of one event loop. All methods are for that loop's thread only."""

    def __init__(
        self,
        *,
        new_id: Callable[[], str],
        clock: Callable[[], float],
        later: Later,
        metrics: Metrics,
        log: DisconnectLog,
        limits: Limits,
        links: LinkSettings,
        hubs: Mapping[str, HubSettings],
        allow_unlisted_hubs: bool = True,
    ) -> None:
        self.new_id = new_id
        self.clock = clock
        self._later = later
        self.cluster: Cluster | None = None
        """The other nodes; None if there are none. Set before the first hub exists."""
        self.metrics = metrics
        self.limits = limits
        self.links = links
        self.hubs: dict[str, Hub] = {}
        self.draining = False
        self.connections = 0
        """Number of connections in all hubs, those that wait for their app server included."""
        self.flusher: Flusher = Flusher(lambda: later(self.flusher.run), self._slow, metrics, limits, clock())
        self.turns: Turns = Turns(lambda: later(self.turns.run), clock, self.flusher)
        """Shares the time for work in steps, of all hubs."""
        self._chores = Intake(self.turns)
        self.heartbeats = Heartbeats(self._silent, self.flusher, metrics, clock())
        self._log = log
        self._openings: dict[Connection, tuple[Opening, tuple[str, ...]]] = {}
        self.configure(hubs, allow_unlisted_hubs=allow_unlisted_hubs)

    # -- hubs ---------------------------------------------------------------------------------

    def configure(self, hubs: Mapping[str, HubSettings], *, allow_unlisted_hubs: bool) -> None:
        """Take new hub settings, at the start and on a reload. Connections are not affected."""
        self._hub_settings = {name.casefold(): settings for name, settings in hubs.items()}
        self._unlisted = self._hub_settings.get("default", HubSettings())
        self._allow_unlisted = allow_unlisted_hubs

    def hub_settings(self, name: str) -> HubSettings:
        """The settings of hub `name`. Raises `PeerError` (unknown-hub) for an unlisted hub if the
        configuration allows only listed ones."""
        settings = self._hub_settings.get(name.casefold())
        if settings is not None:
            return settings
        if not self._allow_unlisted:
            raise PeerError(UNKNOWN_HUB, name[:128])
        return self._unlisted

    def known_hubs(self) -> list[str]:
        """Names of the hubs that exist now and of those that the configuration lists."""
        listed = self._hub_settings.keys() - self.hubs.keys() - {"default"}
        return [*(hub.name for hub in self.hubs.values()), *sorted(listed)]

    def hub(self, name: str) -> Hub | None:
        """The hub, if it exists. Names compare without case, as in the SDK."""
        return self.hubs.get(name.casefold())

    def ensure_hub(self, name: str) -> Hub:
        """The hub for an app server's link, created on first use. Only a signed link gets here, so a
        stranger's client cannot create hubs."""
        self.hub_settings(name)
        hub = self.hub(name)
        if hub is None:
            hub = self.hubs[name.casefold()] = Hub(name, self.cluster)
        return hub

    # -- app servers --------------------------------------------------------------------------

    def drop_server(self, hub: Hub, server: AppServer) -> None:
        """An app server's grace time is over. Its clients are closed, so that they reconnect and get another
        app server."""
        server.up = False
        hub.servers.remove(server)
        hub.queries.without(server)
        hub.questions.without(server)
        clients = tuple(server.clients)
        if len(clients) <= AT_ONCE:
            for connection in clients:
                self._lose_server(connection)
        else:
            self._chores.add(self._lose_servers(clients))
        self._forget_if_empty(hub)

    def _lose_servers(self, clients: tuple[Connection, ...]) -> Job[None]:
        for place, connection in enumerate(clients):
            if place % AT_ONCE == AT_ONCE - 1:
                yield False
            self._lose_server(connection)

    def _lose_server(self, connection: Connection) -> None:
        if connection in self._openings:
            self.refuse(connection, NO_APP_SERVER, "the app server went away")
        else:
            self.disconnect(connection, APP_LOST, who="service")

    def _forget_if_empty(self, hub: Hub) -> None:
        if hub.is_empty and self.hubs.get(hub.name.casefold()) is hub:
            del self.hubs[hub.name.casefold()]

    # -- a connection's life ------------------------------------------------------------------

    def connect(self, hub_name: str, handshake: Handshake, opening: Opening) -> Connection:
        """A client asks for a session. Raises `PeerError` if it is refused at once. Otherwise `opening`
        gets the app server's decision, later or within this call."""
        if self.draining:
            raise PeerError(DRAINING)
        if self.connections >= self.limits.max_connections:
            raise PeerError(TOO_MANY_CONNECTIONS)
        if len(handshake.groups) > self.limits.max_groups:
            raise PeerError(TOO_MANY_GROUPS, f"at most {self.limits.max_groups}")
        hub = self.hub(hub_name)
        server = hub.servers.choose() if hub is not None else None
        if hub is None or server is None:
            raise PeerError(NO_APP_SERVER)
        connection = Connection(
            self.new_id(),
            hub,
            user_id=handshake.user_id,
            server=server,
            limits=self.limits,
            flusher=self.flusher,
            now=self.clock(),
        )
        self.connections += 1
        server.clients.add(connection)
        self._openings[connection] = (opening, handshake.groups)
        server.link.open(connection, handshake)
        return connection

    def accept(self, connection: Connection, info: OpenInfo) -> None:
        """The app server accepts the client."""
        waiting = self._openings.pop(connection, None)
        if waiting is None:
            if connection.session.state == State.CLOSED:
                connection.server.link.closed(connection, TRANSPORT_LOST)
            return
        opening, groups = waiting
        if self.draining:
            # This client may have been skipped when all clients were closed.
            self._forget(connection)
            connection.server.link.closed(connection, DRAINING)
            opening.refused(DRAINING, "")
            return
        session = connection.session
        session.max_payload = min(session.max_payload, info.max_payload)
        directory = connection.hub.directory
        directory.add(connection)
        for group in groups:
            directory.rooms.join(connection, group)
        self.metrics.connects += 1
        terms = OpenInfo(info.ping_interval, info.ping_timeout, session.max_payload)
        if not connection.server.can.keeps_heartbeat:
            # Before the answer: packets that the client sent too early are read while it is being answered.
            self.heartbeats.add(connection, terms, self.clock())
        opening.accepted(connection, terms)

    def refuse(self, connection: Connection, reason: Reason, detail: str = "") -> None:
        """The app server refuses the client, or did not answer."""
        waiting = self._openings.pop(connection, None)
        if waiting is not None:
            self._forget(connection)
            waiting[0].refused(reason, detail)

    def abandon(self, connection: Connection) -> None:
        """The client went away while the app server was being asked. If the app server accepts it later,
        `accept` reports the end to it."""
        if self._openings.pop(connection, None) is not None:
            self._forget(connection)

    def _forget(self, connection: Connection) -> None:
        connection.session.step(Step.CLOSE)
        connection.server.clients.discard(connection)
        connection.outbox.drop()
        self.connections -= 1

    def disconnect(self, connection: Connection, reason: Reason, *, who: Who, detail: str = "") -> None:
        """End a connection, once: remove it from its groups, tell the app server and the client, and log
        it."""
        if connection in self._openings:
            self.refuse(connection, reason, detail)
            return
        session, outbox = connection.session, connection.outbox
        if session.state == State.CLOSED:
            return
        session.step(Step.CLOSE)
        hub = connection.hub
        hub.sockets -= sum(1 for sid in session.peer.namespaces.values() if sid)
        hub.directory.remove(connection)
        connection.server.clients.discard(connection)
        self.connections -= 1
        self.heartbeats.remove(connection)
        queued, sink = outbox.size, outbox.sink
        rest = outbox.take_all()
        outbox.drop()
        connection.server.link.closed(connection, reason)
        self.metrics.disconnects[reason.name] += 1
        self._log(
            connection, reason, who=who, detail=detail, age=self.clock() - connection.opened_at, queued=queued
        )
        if sink is not None:
            sink.close(reason, rest)
        self._forget_if_empty(hub)

    def _slow(self, connection: Connection, why: str) -> None:
        if connection.session.state != State.CLOSED:
            self.metrics.slow_client_closes += 1
            connection.outbox.spill()
            self.disconnect(connection, SLOW_CLIENT, who="service", detail=why)

    def _silent(self, connection: Connection) -> None:
        self.disconnect(connection, PING_TIMEOUT, who="service")

    def leave_namespace(self, connection: Connection, namespace: str, *, was_connected: bool) -> None:
        """A socket ended, or was never connected: remove it from all groups of the namespace. An app server
        may join groups before it answers CONNECT (middleware does)."""
        if was_connected:
            connection.hub.sockets -= 1
        connection.hub.directory.rooms.leave_prefix(connection, namespace_group(namespace))

    # -- the client's data --------------------------------------------------------------------

    def burst(self, connection: Connection) -> None:
        """One read from the client held more than `bursts.BURST` packets."""
        server = connection.server
        if server.bursts is None:
            server.bursts = Bursts(server.link, self._later, self._after_burst)
        server.bursts.add(connection)

    def _after_burst(self, connection: Connection) -> None:
        self.heartbeats.read_on(connection, self.clock())
        connection.release(BURST)

    def receive(self, connection: Connection, packet: bytes) -> None:
        """One packet of the client in text form. A broken packet ends this connection with a reason, and
        affects nothing else."""
        try:
            event = connection.session.receive(packet)
        except PeerError as error:
            self.disconnect(connection, error.reason, who="service", detail=error.detail)
            return
        if type(event) is Forward:
            connection.server.link.forward(connection, event.packet)
        elif event is not None:
            self._rare(connection, event)

    def receive_binary(self, connection: Connection, data: bytes) -> None:
        """One binary WebSocket message of the client."""
        try:
            event = connection.session.receive_binary(data)
        except PeerError as error:
            self.disconnect(connection, error.reason, who="service", detail=error.detail)
            return
        if event is not None:
            self._rare(connection, event)

    def _rare(self, connection: Connection, event: Event) -> None:
        if isinstance(event, Forward):
            connection.server.link.forward(connection, event.packet)
        elif isinstance(event, Pong):
            if connection.heartbeat is not None:
                self.heartbeats.pong(connection)
            else:
                connection.server.link.forward(connection, b"3")
        elif isinstance(event, Answer):
            if not connection.hub.invocations.answered(event.ack_id, connection, event.payload):
                self.metrics.late_answers += 1
        elif isinstance(event, Closed):
            self.disconnect(connection, CLIENT_CLOSED, who="client")
        elif event is not None:
            # Leave the groups before the app server is notified: its own clean-up of the private room then
            # finds nobody, and cannot affect a new socket in the same namespace.
            self.leave_namespace(connection, event.namespace, was_connected=event.was_connected)
            connection.server.link.forward(connection, event.packet)

    def upgraded(self, connection: Connection) -> None:
        """The client has changed from polling to a WebSocket."""
        connection.server.peer.upgraded(connection)

    # -- time ---------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Send the pings that are due, and end overdue questions."""
        self.heartbeats.tick(now)
        self.flusher.backlog.tick(now)
        for hub in tuple(self.hubs.values()):
            for server in hub.servers.all():
                if server.bursts is not None:
                    server.bursts.tick(now)
            if hub.waits:
                self.metrics.invoke_timeouts += hub.invocations.tick(now)
                self.metrics.server_timeouts += hub.queries.tick(now) + hub.questions.tick(now)
                self._forget_if_empty(hub)
