"""Random histories of a hub with recovery. A recovered client has every event that it was entitled to when
the event was sent, once and in order. Nobody ever gets anything else."""

from __future__ import annotations

import json
from collections.abc import Callable

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from moorage.hub.hub import AppServer
from moorage.hub.recovery.sockets.replay import can_return, missed_by
from moorage.hub.settings import HubSettings
from moorage.wire.commands import (
    CloseConnections,
    JoinGroups,
    LeaveGroups,
    LeaveNamespace,
    Selection,
    Send,
)
from moorage.wire.filters.compiled import Filter
from moorage.wire.groups import namespace_group, room_group, room_of
from moorage.wire.reasons import APP_CLOSED, CLIENT_CLOSED, PING_TIMEOUT, SLOW_CLIENT, TRANSPORT_LOST
from tests.hub.fakes import HUB, RecordingPeer, World
from tests.hub.recovery.model import LASTS, Phone, Session, Socket, prefix
from tests.hub.recovery.stage import RecordingReturns

NAMESPACES = ("/", "/ns")
ROOMS = ("a", "b", "c")
USERS = ("u", "u", "v", None)
SAVE_SECONDS = 5.0

phones = st.integers(0, len(USERS) - 1)
namespaces = st.sampled_from(NAMESPACES)
rooms = st.sampled_from(ROOMS)
several = st.lists(rooms, max_size=2, unique=True)


class Histories(RuleBasedStateMachine):
    """Limits are not reached, so every client that may be recovered is."""

    hub = HubSettings()
    strict = True
    """A client that may be recovered must be."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World(hubs={HUB: self.hub})
        self.returns = RecordingReturns()
        self.servers = [self._server(f"s{number}") for number in (1, 2)]
        self.phones = [self._phone(user) for user in USERS]
        self.sockets: list[Socket] = []
        self.answering: dict[tuple[str, str], Socket] = {}
        """The sockets that answered CONNECTs begin, until the clients read the answers."""
        self.unsaved: list[tuple[AppServer, Socket]] = []
        self.number = 0

    def _server(self, name: str) -> AppServer:
        server, _ = self.world.server(name, peer=RecordingPeer())
        node = self.world.node
        node.claims.turn_on(
            self.world.hub(), server, self.returns, LASTS, settings=node.hub_settings(HUB), news=None
        )
        return server

    def _phone(self, user: str | None) -> Phone:
        phone = Phone(self.world, user)
        phone.begun = lambda namespace, sid: self.answering.pop((namespace, sid))
        return phone

    # -- clients --------------------------------------------------------------------------------

    @initialize()
    def begin(self) -> None:
        for phone in self.phones:
            self._connect(phone)

    def _connect(self, phone: Phone) -> None:
        phone.open()
        for namespace in NAMESPACES:
            self._ask(phone, namespace)
            self._answer(phone, namespace)
        phone.read()

    def _ask(self, phone: Phone, namespace: str) -> None:
        for other in self.phones:
            self._note_lost(other)
        phone.ask(namespace)
        for other in self.phones:
            self._note_lost(other)

    @rule(at=phones)
    def come_back(self, at: int) -> None:
        """At once, in all namespaces."""
        phone = self.phones[at]
        if not phone.is_open:
            self.save_all()
            self._connect(phone)

    @rule(at=phones)
    def open(self, at: int) -> None:
        """A new connection, perhaps before the end of the former one is noticed."""
        phone = self.phones[at]
        phone.open()
        for session in phone.sessions.values():
            session.lost_at = session.lost_at or self.world.now

    @rule(at=phones, namespace=namespaces)
    def ask(self, at: int, namespace: str) -> None:
        phone = self.phones[at]
        connection = phone.connection
        if connection is not None and phone.is_open and namespace not in connection.session.peer.namespaces:
            self._ask(phone, namespace)

    @rule(at=phones, namespace=namespaces)
    def answer(self, at: int, namespace: str) -> None:
        self._answer(self.phones[at], namespace)

    def _answer(self, phone: Phone, namespace: str) -> None:
        """The app answers a CONNECT that it has got, in one of both ways."""
        connection = phone.connection
        if connection is None or not phone.is_open or connection.session.peer.namespaces.get(namespace) != "":
            return
        packet = phone.asked[namespace]
        recovered = [
            socket
            for client, socket in self.returns.sockets
            if client == connection.id and socket.namespace == namespace
        ]
        if recovered:
            sid = recovered[-1].sid
            (socket,) = [each for each in self.sockets if each.sid == sid and not each.ended]
            socket.connection, socket.server, socket.saved = connection.id, connection.server, False
        elif (connection.id, packet) in connection.server.link.forwarded:  # type: ignore[attr-defined]
            sid = f"sid{len(self.sockets)}"
            former = phone.sessions.get(namespace)
            assert former is None or not self._must_recover(phone, former), "a new socket"
            socket = Socket(sid, namespace, phone.user, connection.id, connection.server)
            self.sockets.append(socket)
        else:
            return
        self.answering[namespace, sid] = socket
        self.world.send(connection, f'40{prefix(namespace)}{{"sid":"{sid}"}}'.encode())
        phone.read()
        if recovered and phone.is_open:
            assert phone.sessions[namespace].socket is socket, "the socket of another client"
            self.answering.pop((namespace, sid), None)
            phone.sessions[namespace].lost_at = 0.0
            self._check_groups(phone, socket)

    def _must_recover(self, phone: Phone, session: Session) -> bool:
        lost_at = session.lost_at
        if not self.strict or session.socket.ended or not lost_at:
            return False
        return self.world.now - lost_at < SAVE_SECONDS or (
            session.socket.saved and self.world.now - lost_at < LASTS
        )

    def _check_groups(self, phone: Phone, socket: Socket) -> None:
        assert phone.connection is not None
        found = [room_of(group) for group in phone.connection.groups]
        mine = {name for namespace, name in filter(None, found) if namespace == socket.namespace}
        assert mine == socket.rooms | {socket.sid}
        assert namespace_group(socket.namespace) in phone.connection.groups

    @rule(
        at=phones,
        most=st.integers(0, 3) | st.none(),
        why=st.sampled_from((TRANSPORT_LOST, PING_TIMEOUT, SLOW_CLIENT, CLIENT_CLOSED)),
    )
    def lose(self, at: int, most: int | None, why: object) -> None:
        """The connection ends, after the client has read a part of what has arrived."""
        phone = self.phones[at]
        if phone.connection is not None and phone.is_open:
            phone.read(most)
            self.world.node.disconnect(phone.connection, why, who="client")  # type: ignore[arg-type]
            self._note_lost(phone)

    def _note_lost(self, phone: Phone) -> None:
        """The app saves the sockets of a connection that has ended."""
        if phone.connection is None or phone.is_open:
            return
        for socket in self.sockets:
            pending = any(socket is other for _, other in self.unsaved)
            if socket.connection == phone.connection.id and not (socket.ended or socket.saved or pending):
                self.unsaved.append((socket.server, socket))
        for session in phone.sessions.values():
            session.lost_at = session.lost_at or self.world.now

    @rule()
    def save_all(self) -> None:
        for phone in self.phones:
            self._note_lost(phone)
        unsaved, self.unsaved = self.unsaved, []
        for server, socket in unsaved:
            self.world.node.claims.save(self.world.hub(), server, socket.namespace, socket.sid, b"{}")
            socket.saved = True

    @rule(at=phones)
    def read(self, at: int) -> None:
        self.phones[at].read()

    @rule(at=phones, namespace=namespaces)
    def leave_namespace(self, at: int, namespace: str) -> None:
        """`socket.disconnect()` of the client."""
        phone = self.phones[at]
        session = phone.sessions.get(namespace)
        if phone.connection is None or not phone.is_open or session is None:
            return
        if phone.connection.session.peer.namespaces.get(namespace) == session.socket.sid:
            phone.read()
            phone.ended(namespace)
            self.world.node.receive(phone.connection, f"41{prefix(namespace)}".encode())
            session.socket.ended = True

    @rule(at=phones)
    def closed_by_app(self, at: int) -> None:
        phone = self.phones[at]
        if phone.connection is not None and phone.is_open:
            for socket in self.sockets:
                if socket.connection == phone.connection.id:
                    socket.ended = True
            self.world.node.disconnect(phone.connection, APP_CLOSED, who="app")

    @rule(at=phones, namespace=namespaces, position=st.integers(0, 2**50), how=st.integers(0, 4))
    def forge(self, at: int, namespace: str, position: int, how: int) -> None:
        """A stranger tries what it can with the `pid` of another."""
        victim = self.phones[at].sessions.get(namespace)
        if victim is None:
            return
        epoch = self.world.hub().recovery.log.epoch  # type: ignore[union-attr]
        user = "mallory" if how < 3 else victim.socket.user
        attacker = Phone(self.world, user)
        attacker.open()
        assert attacker.connection is not None
        offset = [None, victim.offset, f"{epoch}.{position:x}", f"other.{position % 9}", "x" * 99][how]
        attacker.ask(namespace, victim.pid, offset)
        assert attacker.asked[namespace] in [
            packet
            for _, packet in attacker.connection.server.link.forwarded  # type: ignore[attr-defined]
        ]
        self.world.node.disconnect(attacker.connection, APP_CLOSED, who="app")

    # -- rooms ----------------------------------------------------------------------------------

    @rule(at=phones, namespace=namespaces, room=rooms, joined=st.booleans())
    def move(self, at: int, namespace: str, room: str, joined: bool) -> None:
        """The app's handler does it."""
        phone = self.phones[at]
        connection, session = phone.connection, phone.sessions.get(namespace)
        if connection is None or not phone.is_open or session is None:
            return
        if connection.session.peer.namespaces.get(namespace) == session.socket.sid:
            self._move(Selection(connection=connection.id), namespace, room, joined, quiet=True)
            change(session.socket.rooms, room, joined)

    def _move(self, to: Selection, namespace: str, room: str, joined: bool, *, quiet: bool = False) -> None:
        make = JoinGroups if joined else LeaveGroups
        self.world.execute(make(HUB, to, (room_group(namespace, room),), quiet))

    @rule(namespace=namespaces, of=rooms | st.none(), room=rooms, joined=st.booleans())
    def sockets_move(self, namespace: str, of: str | None, room: str, joined: bool) -> None:
        """`io.in(…).socketsJoin(…)`."""
        group = namespace_group(namespace) if of is None else room_group(namespace, of)
        self._move(Selection(group=group), namespace, room, joined)
        for socket in self._those(namespace, lambda each: of is None or of in each.rooms):
            change(socket.rooms, room, joined)

    @rule(namespace=namespaces, of=rooms, close=st.booleans())
    def disconnect_sockets(self, namespace: str, of: str, close: bool) -> None:
        """`io.in(…).disconnectSockets(…)`."""
        to = Selection(group=room_group(namespace, of))
        chosen = self._those(namespace, lambda each: of in each.rooms)
        for phone in self.phones:
            phone.read()
        self.world.execute(LeaveNamespace(HUB, to, namespace, close))
        # A socket that was forgotten is in no room, so it does not end the others of its connection.
        gone = {each.connection for each in chosen} if close and self.strict else set()
        for socket in self.sockets:
            if socket in chosen or socket.connection in gone:
                socket.ended = True
        for phone in self.phones:
            phone.read()

    @rule(user=st.sampled_from(("u", "v")))
    def close_user(self, user: str) -> None:
        """A REST caller closes all connections of a user."""
        self.world.execute(CloseConnections(HUB, Selection(user=user)))
        for socket in self.sockets:
            if socket.user == user:
                socket.ended = True

    # -- what is sent ---------------------------------------------------------------------------

    def _those(self, namespace: str, condition: Callable[[Socket], bool]) -> list[Socket]:
        return [
            each
            for each in self.sockets
            if not each.ended and each.namespace == namespace and condition(each)
        ]

    def _emit(
        self,
        to: Selection,
        namespace: str,
        condition: Callable[[Socket], bool],
        *,
        binary: bool = False,
        volatile: bool = False,
    ) -> None:
        self.number += 1
        for socket in self._those(namespace, condition):
            if volatile:
                socket.volatile.add(self.number)
            else:
                socket.due.append(self.number)
        packet = self._packet(namespace, binary=binary)
        self.world.execute(Send(HUB, to, packet, volatile))

    def _packet(self, namespace: str, *, binary: bool = False, ack: str = "") -> bytes:
        data = json.dumps(["event", self.number, "text"])
        if not binary:
            return f"42{prefix(namespace)}{ack}{data}".encode()
        return f'451-{prefix(namespace)}["event",{self.number},{{"_placeholder":true,"num":0}}]'.encode() + (
            b"\x1ebAAE="
        )

    @rule(namespace=namespaces, to=several, out=several, binary=st.booleans(), volatile=st.booleans())
    def emit(self, namespace: str, to: list[str], out: list[str], binary: bool, volatile: bool) -> None:
        """`io.to(…).except(…).emit(…)`."""
        names, without = [tuple(room_group(namespace, room) for room in some) for some in (to, out)]
        condition = Filter(none_of=without) if without else None
        if len(names) > 1:
            selection = Selection(filter=Filter(any_of=names, none_of=without))
        else:
            selection = Selection(group=names[0] if names else namespace_group(namespace), filter=condition)
        self._emit(
            selection,
            namespace,
            lambda each: (not to or not each.rooms.isdisjoint(to)) and each.rooms.isdisjoint(out),
            binary=binary,
            volatile=volatile,
        )

    @rule(namespace=namespaces, user=st.sampled_from(("u", "v")))
    def emit_to_user(self, namespace: str, user: str) -> None:
        self._emit(Selection(user=user), namespace, lambda each: each.user == user)

    @rule(namespace=namespaces)
    def emit_to_everyone(self, namespace: str) -> None:
        """A REST caller sends to all connections."""
        self._emit(Selection(), namespace, lambda each: True)

    @rule(namespace=namespaces, server=st.integers(0, 1))
    def emit_local(self, namespace: str, server: int) -> None:
        """`io.local.emit(…)`."""
        one = self.servers[server]
        to = Selection(group=namespace_group(namespace), server=one.id)
        self._emit(to, namespace, lambda each: each.server is one)

    @rule(at=phones, namespace=namespaces, own=st.booleans())
    def broadcast(self, at: int, namespace: str, own: bool) -> None:
        """`socket.broadcast.emit(…)`, with the exception in one of both dialects' forms; or `io.to(id)`."""
        session = self.phones[at].sessions.get(namespace)
        if session is None or session.socket.ended:
            return
        socket = session.socket
        if own:
            self._emit(
                Selection(group=room_group(namespace, socket.sid)), namespace, lambda each: each is socket
            )
            return
        to = Selection(group=namespace_group(namespace), excluded=(socket.connection,))
        self._emit(to, namespace, lambda each: each.connection != socket.connection)

    @rule(at=phones, namespace=namespaces, ack=st.booleans())
    def emit_direct(self, at: int, namespace: str, ack: bool) -> None:
        """`socket.emit(…)`."""
        phone = self.phones[at]
        connection, session = phone.connection, phone.sessions.get(namespace)
        if connection is None or not phone.is_open or session is None or session.socket.ended:
            return
        if session.socket.connection != connection.id:
            return
        self.number += 1
        (session.socket.acked.add if ack else session.socket.due.append)(self.number)
        self.world.send(connection, self._packet(namespace, ack=str(self.number) if ack else ""))

    # -- time -----------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from((0.1, 1.0, 3.0, 20.0)))
    def pass_time(self, seconds: float) -> None:
        self.world.now += seconds
        self.world.node.tick(self.world.now)
        for phone in self.phones:
            self._note_lost(phone)

    @invariant()
    def nobody_gets_anything_wrong(self) -> None:
        assert not self.world.faults
        for socket in self.sockets:
            socket.check(complete=False)
        for phone in self.phones:
            connection = phone.connection
            if connection is None or not phone.is_open:
                continue
            for namespace, session in phone.sessions.items():
                if connection.session.peer.namespaces.get(namespace) == session.socket.sid:
                    phone.read()
                    session.socket.check(complete=True)

    @invariant()
    def a_cheap_look_says_the_same(self) -> None:
        recovery = self.world.hub().recovery
        assert recovery is not None
        for track in tuple(recovery.away.connections.values()):
            for after in {track.since, recovery.log.position}:
                complete = missed_by(recovery.log, track, after) is not None
                assert can_return(recovery.log, track, after) == complete

    def teardown(self) -> None:
        """Everyone comes back."""
        for phone in self.phones:
            self.come_back(self.phones.index(phone))
        self.nobody_gets_anything_wrong()


def change(some: set[str], room: str, joined: bool) -> None:
    (some.add if joined else some.discard)(room)


class Tight(Histories):
    """All limits are reached, so many clients get new sessions. Nobody gets a part of what it has missed."""

    hub = HubSettings(
        recovery_session_events=3,
        recovery_room_events=4,
        recovery_hub_events=8,
        recovery_max_parked=3,
    )
    strict = False


Histories.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestHistories = Histories.TestCase
Tight.TestCase.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
TestTight = Tight.TestCase
