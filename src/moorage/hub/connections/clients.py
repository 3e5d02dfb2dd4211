"""The hubs of one process, and the life of their connections from the first request to the end. Nothing here
waits, opens a socket or reads a clock on its own. The shells (`edge`, `control`) bring bytes and time in;
what is to be written, opened and closed goes out through the ports."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from itertools import count

from moorage.engine.peer import Answer, Connect, Forward, Left
from moorage.engine.session import Closed, Pong
from moorage.engine.upgrade import State, Step
from moorage.hub.connections.bursts import Bursts
from moorage.hub.connections.fanout import Encoded, push
from moorage.hub.connections.guests import Guests
from moorage.hub.connections.heartbeat import Heartbeats
from moorage.hub.connections.hubs import Hubs
from moorage.hub.connections.quotas import check_quotas, unwelcome
from moorage.hub.handover.handovers import Handovers
from moorage.hub.handover.homecoming import Homecoming
from moorage.hub.handover.move import Move
from moorage.hub.hub import BURST, AppServer, Client, Connection, Hub
from moorage.hub.inspect.paced import Paced
from moorage.hub.journal.gate import GatedFlusher
from moorage.hub.ports import Faults, Later, Observer, Opening, Reach, RefusedError, Who
from moorage.hub.recovery.claims import Claims
from moorage.hub.settings import HubSettings, Limits
from moorage.hub.turns import AT_ONCE, Intake, Job, ResultT, Turns
from moorage.wire import reasons
from moorage.wire.errors import PeerError
from moorage.wire.groups import namespace_group
from moorage.wire.handshake import Handshake, OpenInfo
from moorage.wire.reasons import Reason


class Clients(Hubs):
    """Owns the hubs of one event loop. All methods are for that loop's thread only."""

    def __init__(
        self,
        *,
        new_id: Callable[[], str],
        clock: Callable[[], float],
        later: Later,
        observer: Observer[Connection],
        faults: Faults,
        limits: Limits,
        invoke_timeout: float,
        hubs: Mapping[str, HubSettings],
        allow_unlisted_hubs: bool = True,
        incarnation: str = "",
    ) -> None:
        super().__init__(hubs, allow_unlisted_hubs=allow_unlisted_hubs)
        self.new_id, self.incarnation = new_id, incarnation
        """The latter identifies this start of the node."""
        self.emit_numbers = count(1)
        """For emits that have no number of an app server."""
        self.clock = clock
        self.later = later
        self.cluster: Reach | None = None
        """The other nodes; None if there are none."""
        self.app_servers_changed: Callable[[], object] = lambda: None
        """Called when an app server of this node comes, goes, or is up or down."""
        self.late_answers = 0
        """Answers of clients and app servers for which nobody waited any more."""
        self.invoke_timeouts = self.server_timeouts = 0
        """Questions to clients and to app servers that ended before all had answered."""
        self.limits = limits
        self.invoke_timeout = invoke_timeout
        """Maximum time in seconds that a question waits for its answers."""
        self.draining = False
        self.connections = 0
        """Number of connections in all hubs, those that wait for their app server included."""
        self.flusher: GatedFlusher[Connection] = GatedFlusher(
            lambda: later(self.flusher.run), self._slow, self._broken, limits, clock()
        )
        self.turns: Turns = Turns(lambda: later(self.turns.run), clock, self.flusher)
        """Shares the time for work in steps, of all hubs."""
        self._chores = Intake(self.turns)
        self.inspections: Paced = Paced(self.turns, later)
        silent = partial(self.disconnect, reason=reasons.PING_TIMEOUT, who="service")
        self.heartbeats = Heartbeats(silent, self.flusher, faults, clock())
        self.observer = observer
        self._faults = faults
        self.bursts: dict[AppServer, Bursts] = {}
        """The queues of clients that flood, by app server."""
        self.guests = Guests(self._chores)
        self._openings: dict[Connection, tuple[Opening[Connection], Handshake]] = {}
        self.handovers = self._make_handovers(later)
        returned = partial(self.disconnect, who="client")
        self.claims = Claims(new_id, clock, returned, self._goes_on, self.handovers.bring)

    def _make_handovers(self, later: Later) -> Handovers:
        return Handovers(
            clock=self.clock,
            later=later,
            opening=self._openings.__contains__,
            disconnect=partial(self.disconnect, who="service"),
            read_on=lambda connection: self.heartbeats.read_on(connection, self.clock()),
            moves_on_loss=lambda name: self.settings_of(name).on_app_loss == "move",
        )

    # -- app servers --------------------------------------------------------------------------

    def drop_server(self, hub: Hub, server: AppServer, *, lost: bool = True) -> None:
        """Its grace time is over, or it has left (`lost` is False). Clients that do not move are closed."""
        server.up = False
        hub.servers.remove(server)
        self.bursts.pop(server, None)
        self.guests.drop_server(server)
        hub.queries.without(server)
        hub.questions.without(server)
        self.handovers.server_lost(hub, server)
        parked = self.claims.lost(hub, server)
        if not next(parked, True):
            self._chores.add(parked)
        clients = tuple(server.clients)
        if len(clients) <= AT_ONCE:
            for connection in clients:
                self._lose_server(connection, lost=lost)
        else:
            self._chores.add(self._lose_servers(clients, lost=lost))
        self._forget_if_empty(hub)

    def _lose_servers(self, clients: tuple[Connection, ...], *, lost: bool) -> Job[None]:
        for place, connection in enumerate(clients):
            if place % AT_ONCE == AT_ONCE - 1:
                yield False
            self._lose_server(connection, lost=lost)

    def _lose_server(self, connection: Connection, *, lost: bool) -> None:
        if connection in self._openings:
            self.refuse(connection, reasons.NO_APP_SERVER, "the app server went away")
        elif not self.handovers.keeps(connection, lost=lost):
            self.disconnect(connection, reasons.APP_LOST, who="service")

    def _app_servers_changed(self) -> None:
        self.handovers.app_servers_changed()
        self.app_servers_changed()

    def everyone(self) -> list[Client]:
        """All clients and guests."""
        own = [client for hub in self.hubs.values() for client in hub.directory.connections.values()]
        return [*own, *self.guests.all()]

    # -- a connection's life ------------------------------------------------------------------

    def connect(self, hub_name: str, handshake: Handshake, opening: Opening[Connection]) -> Connection:
        """A client asks for a session. `opening` gets the answer, perhaps within this call. Raises
        `RefusedError` if it can be refused at once."""
        try:
            hub, server = self._admit(hub_name, handshake)
        except PeerError as error:
            self.observer.refused(hub_name, handshake, error)
            raise RefusedError(error.reason, error.detail) from None
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
        self._openings[connection] = (opening, handshake)
        server.link.open(connection, handshake)
        return connection

    def _admit(self, hub_name: str, handshake: Handshake) -> tuple[Hub, AppServer]:
        if self.draining:
            raise PeerError(reasons.DRAINING)
        if self.connections >= self.limits.max_connections:
            raise PeerError(
                reasons.TOO_MANY_CONNECTIONS, f"limits.max_connections: {self.limits.max_connections}"
            )
        if len(handshake.groups) > self.limits.max_groups:
            raise PeerError(reasons.TOO_MANY_GROUPS, f"at most {self.limits.max_groups}")
        hub = self.hub(hub_name)
        if hub is None or (server := hub.servers.choose()) is None:
            raise PeerError(reasons.NO_APP_SERVER)
        check_quotas(hub, handshake.user_id)
        return hub, server

    def accept(self, connection: Client, info: OpenInfo) -> None:
        """The app server accepts the client."""
        if not isinstance(connection, Connection):
            self.guests.accept(connection, info)
            return
        waiting = self._openings.pop(connection, None)
        if waiting is None:
            if isinstance(connection.channel, Move):
                connection.channel.accepted()
            elif connection.session.state == State.CLOSED:
                connection.server.link.closed(connection, reasons.TRANSPORT_LOST)
            return
        opening, handshake = waiting
        hub, user = connection.hub, connection.user_id
        limited = self.draining or hub.settings.max_connections_per_user
        error = unwelcome(hub, user, draining=self.draining) if limited else None
        if error is not None:
            self._forget(connection)
            connection.server.link.closed(connection, error.reason)
            self.observer.refused(hub.name, handshake, error)
            opening.refused(error.reason, error.detail)
            return
        session = connection.session
        session.max_payload = min(session.max_payload, info.max_payload)
        hub.directory.add(connection)
        for group in handshake.groups:
            hub.directory.rooms.join(connection, group)
        self.observer.opened(connection, opening.transport)
        terms = OpenInfo(info.ping_interval, info.ping_timeout, session.max_payload)
        if hub.recovery is not None:
            hub.recovery.heartbeat(terms.ping_interval / 1000, terms.ping_timeout / 1000)
        if not connection.server.can.keeps_heartbeat:
            # Before the answer: packets that the client sent too early are read while it is being answered.
            self.heartbeats.add(connection, terms, self.clock())
        opening.accepted(connection, terms)

    def refuse(self, connection: Client, reason: Reason, detail: str = "") -> None:
        """The app server refuses the client, or did not answer."""
        if not isinstance(connection, Connection):
            self.guests.refuse(connection, reason, detail)
            return
        waiting = self._openings.pop(connection, None)
        if waiting is not None:
            opening, handshake = waiting
            self._forget(connection)
            self.observer.refused(connection.hub.name, handshake, PeerError(reason, detail))
            opening.refused(reason, detail)
        elif isinstance(connection.channel, Move):
            connection.channel.refused()

    def abandon(self, connection: Connection) -> None:
        """The client went away while the app server was asked. A later `accept` closes it there."""
        if self._openings.pop(connection, None) is not None:
            self._forget(connection)

    def _forget(self, connection: Connection) -> None:
        connection.session.step(Step.CLOSE)
        connection.server.clients.discard(connection)
        connection.outbox.drop()
        self.connections -= 1

    def disconnect(self, connection: Client, reason: Reason, *, who: Who, detail: str = "") -> None:
        """End a connection, once: take it out of its groups, tell app server and client, and log it."""
        if not isinstance(connection, Connection):
            self.guests.disconnect(connection, reason, who=who, detail=detail)
            return
        if connection in self._openings:
            self.refuse(connection, reason, detail)
            return
        session, outbox = connection.session, connection.outbox
        if session.state == State.CLOSED:
            # The end of the transport is told here, too, when the session has ended for another reason.
            if connection.tracks is not None and who == "app":
                self.claims.quiet.close(connection)
            return
        session.step(Step.CLOSE)
        hub = connection.hub
        for namespace, sid in session.peer.namespaces.items():
            if sid:
                self.observer.left(connection, namespace)
        hub.websockets -= outbox.framed
        quiet = connection.tracks is not None and self.claims.gone(connection, reason)
        hub.directory.remove(connection)
        connection.server.clients.discard(connection)
        self.connections -= 1
        self.heartbeats.remove(connection)
        queued, sink, rest = outbox.size, outbox.sink, outbox.drop()
        if not quiet:
            connection.server.link.closed(connection, reason)
        age, told = self.clock() - connection.opened_at, detail or connection.note
        self.observer.closed(connection, reason, who=who, detail=told, age=age, queued=queued)
        self._forget_if_empty(hub)
        if sink is not None:
            sink.close(reason, rest)

    def _broken(self, connection: Connection, error: Exception) -> None:
        """A write to the client failed. It must not stop the writes to others."""
        self._faults("write", error)
        try:
            self.disconnect(connection, reasons.INTERNAL, who="service", detail="a write failed")
        except Exception as another:
            self._faults("close", another)

    def _slow(self, connection: Connection, why: str) -> None:
        connection.outbox.spill()
        self.disconnect(connection, reasons.SLOW_CLIENT, who="service", detail=why)

    def _goes_on(self, connection: Connection, namespace: str, payload: bytes) -> None:
        self.observer.joined(connection, namespace)
        push(connection, Encoded(payload), self.flusher)

    def leave_namespace(self, connection: Connection, namespace: str, *, was_connected: bool) -> None:
        """A socket ended, or was never connected: remove it from all groups of the namespace. An app server
        may join groups before it answers CONNECT (middleware does)."""
        if was_connected:
            self.observer.left(connection, namespace)
        if connection.tracks is not None:
            self.claims.leave(connection, namespace)
        connection.hub.directory.rooms.leave_prefix(connection, namespace_group(namespace))

    # -- the client's data --------------------------------------------------------------------

    def burst(self, connection: Connection) -> None:
        """One read from the client held more than `bursts.BURST` packets."""
        if isinstance(connection.channel, Move):
            # It is not read while its app server changes.
            return
        server = connection.server
        bursts = self.bursts.get(server)
        if bursts is None:
            bursts = self.bursts[server] = Bursts(server.link, self.later, self._after_burst)
        bursts.add(connection)

    def _after_burst(self, connection: Connection) -> None:
        self.heartbeats.read_on(connection, self.clock())
        connection.release(BURST)

    def receive(self, connection: Connection, packet: bytes) -> None:
        """A packet in text form. A broken one ends this connection with a reason and nothing else."""
        connection.hub.tally.received += 1
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
        connection.hub.tally.received += 1
        try:
            event = connection.session.receive_binary(data)
        except PeerError as error:
            self.disconnect(connection, error.reason, who="service", detail=error.detail)
            return
        if event is not None:
            self._rare(connection, event)

    def _rare(self, connection: Connection, event: Forward | Connect | Left | Answer | Closed | Pong) -> None:
        if isinstance(event, Forward):
            connection.server.link.forward(connection, event.packet)
        elif isinstance(event, Answer):
            if not connection.hub.invocations.answered(event.ack_id, connection, event.payload):
                self.late_answers += 1
        elif isinstance(event, Connect):
            self._connect(connection, event)
        elif isinstance(event, Pong):
            if connection.heartbeat is not None:
                connection.heartbeat.pong()
            else:
                connection.server.link.forward(connection, b"3")
        elif isinstance(event, Closed):
            self.disconnect(connection, reasons.CLIENT_CLOSED, who="client")
        else:
            # Leave the groups before the app server is notified: its own clean-up of the private room then
            # finds nobody, and cannot affect a new socket in the same namespace.
            known = connection.tracks is None or self.claims.knows(connection, event.namespace)
            self.leave_namespace(connection, event.namespace, was_connected=event.was_connected)
            if known:
                connection.server.link.forward(connection, event.packet)

    def _connect(self, connection: Connection, event: Connect) -> None:
        move, claims = connection.channel, self.claims
        if isinstance(move, Homecoming):
            move.claim(partial(claims.brought, connection, event))
            return
        # Another client that moves gets a new socket: its next app server must not get two kinds of claims.
        may_claim = connection.hub.recovery is not None and not isinstance(move, Move)
        if not may_claim or not claims.connect(connection, event):
            connection.server.link.forward(connection, event.packet)

    def upgraded(self, connection: Connection) -> None:
        """The client has changed from polling to a WebSocket."""
        connection.server.peer.upgraded(connection)

    # -- time ---------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Check all deadlines. A fault in one part does not keep the others from their tick."""
        self.guard("node", self.heartbeats.tick, now)
        self.guard("node", self.flusher.backlog.tick, now)
        for bursts in tuple(self.bursts.values()):
            self.guard("node", bursts.tick, now)
        self.guard("node", self.claims.tick, now)
        self.guard("node", self.handovers.tick, now)
        for hub in tuple(self.hubs.values()):
            if hub.recovery is not None:
                self.guard("node", self.claims.tick_hub, hub, now)
                self._forget_if_empty(hub)
            if hub.waits:
                self.invoke_timeouts += self.guard("node", hub.invocations.tick, now) or 0
                self.server_timeouts += self.guard("node", hub.queries.tick, now) or 0
                self.server_timeouts += self.guard("node", hub.questions.tick, now) or 0
                self._forget_if_empty(hub)

    def guard(self, part: str, call: Callable[..., ResultT], *given: object) -> ResultT | None:
        """Make a call. An exception is counted and logged as a fault of `part`, and goes no further."""
        try:
            return call(*given)
        except Exception as error:
            self._faults(part, error)
            return None
