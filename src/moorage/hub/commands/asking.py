"""The commands with many answers: clients answer an emit with acks, app servers answer each other's
questions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from typing import Any, Final, NamedTuple, Protocol, SupportsBytes

from moorage.engine.upgrade import State
from moorage.hub.commands.execute import FEW, Done
from moorage.hub.commands.selecting import parts
from moorage.hub.connections.clients import Clients
from moorage.hub.connections.fanout import Delivery
from moorage.hub.hub import AppServer, Client, Connection, Hub
from moorage.hub.ports import Answers, AppPeer
from moorage.hub.recovery.sockets.sending import Sending
from moorage.hub.turns import STEP, Job, finished
from moorage.wire import engineio, socketio
from moorage.wire.commands import FetchSockets, Found, Invoke, Outcome, Selection, TellServers
from moorage.wire.errors import PeerError
from moorage.wire.groups import namespace_group, room_group, room_of
from moorage.wire.reasons import API_BAD_PAYLOAD, LINK_BAD_REQUEST, LINK_OVERFLOW

PART: Final = 1_024
"""Sockets in one query to an app server."""
TOGETHER: Final = 32
"""Rows that are made in one step."""

FEW_ASKED: Final = 100
"""Emits to at most this many clients do not count towards `MAX_ASKED`: the number of questions that an app
server may have open bounds them."""
MAX_ASKED: Final = 1_000_000
"""Clients' answers that one hub may wait for. Each costs some 100 bytes until it comes or times out."""


def _invoke(clients: Clients, hub: Hub, command: Invoke, answers: Answers[Any]) -> Done:
    _event(command.payload)
    job = _invoking(clients, hub, command, answers)
    return job if hub.directory.work(command.to) > FEW else finished(job)


def _invoking(clients: Clients, hub: Hub, command: Invoke, answers: Answers[Any]) -> Job[Outcome]:
    packets, header = _event(command.payload)
    namespace = header.namespace
    asked: dict[Connection, str] = {}
    for found in parts(hub.directory, command.to):
        for connection in found:
            asked[connection] = _sid(connection, namespace)
        yield False
    ack_id = hub.invocations.begin()
    packets[0] = socketio.with_ack_id(packets[0], header, ack_id)
    payload = engineio.RS.join(packets)
    delivery = Delivery(payload, clients.flusher)
    if len(asked) > FEW_ASKED and len(asked) + hub.invocations.waiting > MAX_ASKED:
        raise PeerError(LINK_OVERFLOW, f"at most {MAX_ASKED} answers of clients are waited for in a hub")
    limit = clients.invoke_timeout
    timeout = limit if command.timeout is None else min(limit, command.timeout)
    # Registered before the first question leaves: answers come while others are still to be asked.
    hub.invocations.ask(ack_id, asked, answers, clients.clock() + timeout)
    everyone = tuple(asked)
    sending: Sending | None = None
    if hub.recovery is not None and not command.volatile:
        hub.recovery.ask(command.to, namespace, payload, ack_id)
        sending = hub.recovery.asking(command.to, payload) if len(everyone) > STEP else None
    for start in range(0, len(everyone), STEP):
        if start:
            yield False
        # A client that has left the namespace since it was found is not asked and counts as missing.
        some = [c for c in everyone[start : start + STEP] if _is_there(hub, c, namespace, asked[c])]
        if command.volatile:
            some = [c for c in some if c.outbox.ready]
        if sending is not None:
            some = list(sending.left(some))
            sending.step(some)
        delivery.to(some, among=len(everyone))
    return Outcome(reached=len(asked), asked=len(asked))


def _sid(connection: Connection, namespace: str) -> str:
    return connection.session.peer.namespaces.get(namespace, "")


def _is_there(hub: Hub, connection: Connection, namespace: str, sid: str) -> bool:
    return connection.id in hub.directory.connections and _sid(connection, namespace) == sid


def _event(payload: bytes) -> tuple[list[bytes], socketio.Header]:
    """The packets of an event, and the header of the first. Raises `PeerError` for anything but one event."""
    if payload.count(engineio.SEPARATOR) >= socketio.MAX_EMIT:
        raise PeerError(API_BAD_PAYLOAD, f"at most {socketio.MAX_EMIT} packets")
    packets = payload.split(engineio.RS)
    header = socketio.parse_header(packets[0])
    if len(packets) != header.attachments + 1 or not socketio.is_emit(payload):
        raise PeerError(API_BAD_PAYLOAD, "one event with its attachments is expected")
    bare = header.body >= len(packets[0])
    if header.type not in (socketio.EVENT, socketio.BINARY_EVENT) or header.id is not None or bare:
        raise PeerError(API_BAD_PAYLOAD, "an event without ack id is expected")
    return packets, header


def _fetch(clients: Clients, hub: Hub, command: FetchSockets, answers: Answers[Any]) -> Done:
    job = _fetching(clients, hub, command, answers)
    return job if hub.directory.work(command.to) > FEW else finished(job)


def _fetching(clients: Clients, hub: Hub, command: FetchSockets, answers: Answers[Any]) -> Job[Outcome]:
    """The hub knows ids, rooms and handshakes; only the app's own data of a socket must be asked of its app
    server. That takes longest, so the queries leave first, and in parts: then app server, service and asker
    work at the same time."""
    now = clients.clock()
    number = hub.queries.begin()
    waiting: dict[AppServer, int] = {}
    deadline = now + min(clients.invoke_timeout, command.timeout)
    # Registered before the first question leaves: answers come while others are still to be asked.
    hub.queries.open(number, answers, deadline, partial(is_last, waiting))
    found: dict[AppServer, _Sockets] = {}
    for server, connections in (yield from _candidates(hub, command)).items():
        sockets = _Sockets()
        for start in range(0, len(connections), PART):
            if start:
                yield False
            sockets.add(connections[start : start + PART], command.namespace)
            last = start + PART >= len(connections)
            new = len(sockets.unasked) if last or len(sockets.unasked) >= PART else 0
            # The asker has its own data, and an app server that has been given up will not answer.
            asks = server.can.answers_queries and server.id != command.asker
            if new and asks and server in hub.servers:
                waiting[server] = waiting.get(server, 0) + new
                hub.queries.expect(number, server, server.id)
                sockets.ask_for_the_rest(server.peer, number, command.namespace)
        if sockets.count:
            found[server] = sockets
    hub.queries.close(number)
    rows: dict[str, Iterator[list[Found]]] = {}
    for server, sockets in found.items():
        some = _rows(server.id, sockets, command, now)
        # The app server may also be linked to another node, and serve some of the clients from there.
        rows[server.id] = chain(rows[server.id], some) if server.id in rows else some
    return Outcome(
        reached=sum([sockets.count for sockets in found.values()]),
        sockets=rows,
        rooms=sum([sockets.rooms for sockets in found.values()]),
        asked=sum([1 for sockets in found.values() if sockets.asked]),
    )


class Counted(Protocol):
    """An app server's data of `count` sockets, in a form that the asker's dialect reads."""

    @property
    def count(self) -> int:
        """Number of sockets."""


def is_last(waiting: dict[AppServer, int], server: AppServer, chunks: tuple[Counted, ...]) -> bool:
    """True if this is the app server's final answer. The asker matches answers to rows by their number, so
    more than were asked for raise `PeerError`."""
    told = sum(chunk.count for chunk in chunks)
    if not 0 < told <= waiting[server]:
        raise PeerError(LINK_BAD_REQUEST, f"facts of {told} sockets, {waiting[server]} are waited for")
    waiting[server] -= told
    return not waiting[server]


class _Part(NamedTuple):
    """Some sockets of one app server."""

    connections: list[Connection]
    sids: list[str]
    """Their socket ids, in the same order."""
    rows: list[Found]
    """Their rows, in the same order, if each has one already; else empty."""
    most: int
    """Largest number of rooms of one socket."""


class _Sockets:
    """The sockets found of one app server."""

    __slots__ = ("asked", "count", "parts", "rooms", "unasked")

    def __init__(self) -> None:
        self.parts: list[_Part] = []
        self.count = 0
        """Number of sockets."""
        self.rooms = 0
        """Number of rooms of all these sockets."""
        self.asked = False
        """True if the app server has been asked for data of some of these sockets."""
        self.unasked: list[str] = []
        """The last sockets, whose data has not been asked for."""

    def add(self, some: list[Connection], namespace: str) -> None:
        """Add those of `some`, at least one, that are in the namespace and still connected."""
        rows: list[Found] = []
        # In the first fetch after many have connected, none has a row.
        if some[0].listed is not None:
            rows = [row for c in some if (row := c.listed) is not None and row.namespace == namespace]
        if len(rows) == len(some):
            # The rows tell everything; with thousands of connections each further object is a cache miss. A
            # listed socket is connected, because a close ends all memberships.
            self._add(some, [row.id for row in rows], rows, [row.groups for row in rows])
            return
        closed = State.CLOSED
        sids = [
            session.peer.namespaces.get(namespace, "") if (session := c.session).state != closed else ""
            for c in some
        ]
        if not all(sids):
            some = [connection for connection, sid in zip(some, sids, strict=True) if sid]
            sids = [sid for sid in sids if sid]
        self._add(some, sids, [], [len(connection.groups) for connection in some])

    def _add(self, some: list[Connection], sids: list[str], rows: list[Found], rooms: list[int]) -> None:
        if some:
            self.parts.append(_Part(some, sids, rows, max(rooms)))
            self.count += len(some)
            self.unasked += sids
            self.rooms += sum(rooms)

    def ask_for_the_rest(self, peer: AppPeer[Client], number: int, namespace: str) -> None:
        """Ask for the data that has not been asked for yet."""
        sids, self.unasked = self.unasked, []
        self.asked = True
        peer.query(number, namespace, tuple(sids))


def _candidates(hub: Hub, command: FetchSockets) -> Job[dict[AppServer, list[Connection]]]:
    """All selected connections by app server, and perhaps some that are not in the namespace."""
    askers: tuple[AppServer, ...] = ()
    if command.others:
        askers = tuple(each for each in hub.servers.serving() if each.id == command.asker)
    whole = namespace_group(command.namespace)
    if command.to == Selection(group=whole):
        some = {server: server.clients for server in hub.servers.serving() if server not in askers}
        # Fewer to examine, if two app servers share the clients of one namespace.
        if sum(map(len, some.values())) <= len(hub.directory.rooms.members(whole)):
            return {server: list(clients) for server, clients in some.items()}
    found: dict[AppServer, list[Connection]] = {}
    for part in parts(hub.directory, command.to):
        for connection in part:
            if connection.server not in askers:
                found.setdefault(connection.server, []).append(connection)
        yield False
    return found


def _rows(server: str, sockets: _Sockets, command: FetchSockets, now: float) -> Iterator[list[Found]]:
    """The rows, a few at a time: one step's work, or one socket."""
    for part in sockets.parts:
        if server == command.asker:
            # The largest part is the handshake, which the asker got when its clients connected.
            for pairs in _pairs(part):
                yield [_found(c, sid, command, now, b"{}") for c, sid in pairs]
        elif part.rows:
            for start in range(0, len(part.rows), TOGETHER):
                yield part.rows[start : start + TOGETHER]
        else:
            yield from _new_rows(part, command, now)


def _pairs(part: _Part) -> Iterator[list[tuple[Connection, str]]]:
    """Connections and socket ids, a few at a time."""
    pairs = list(zip(part.connections, part.sids, strict=True))
    start = 0
    while start < len(pairs):
        some = pairs[start : start + TOGETHER]
        if part.most * TOGETHER > STEP and sum([len(connection.groups) for connection, _ in some]) > STEP:
            some = some[:1]
        start += len(some)
        yield some


def _new_rows(part: _Part, command: FetchSockets, now: float) -> Iterator[list[Found]]:
    for pairs in _pairs(part):
        new: list[Connection] = []
        yield [
            known if (known := c.listed) is not None and known.id == sid else _list(c, sid, command, now, new)
            for c, sid in pairs
        ]
        for connection in new:
            # The reader may have put a smaller form of the handshake in its place.
            if connection.listed is not None:
                connection.handshake = connection.listed.handshake


def _list(
    connection: Connection, sid: str, command: FetchSockets, now: float, new: list[Connection]
) -> Found:
    new.append(connection)
    connection.listed = found = _found(connection, sid, command, now, connection.handshake)
    return found


def _found(
    connection: Connection, sid: str, command: FetchSockets, now: float, handshake: SupportsBytes
) -> Found:
    opened = command.now - int((now - connection.opened_at) * 1000)
    groups = len(connection.groups)
    # With two groups, the namespace and the private room, there is nothing to list. Most sockets have two.
    rooms = _rooms(connection, command.namespace, sid) if groups != 2 else ()
    user = connection.user_id
    return Found(command.namespace, sid, connection.id, user, opened, rooms, handshake, groups)


def _rooms(connection: Connection, namespace: str, sid: str) -> tuple[str, ...]:
    """The socket's rooms, except its private room."""
    own = namespace_group(namespace)
    # Compared by its wire name: decoding thousands of private rooms would push the others out of the cache.
    private = room_group(namespace, sid)
    return tuple(
        found[1]
        for group in connection.groups
        if group not in (own, private) and group.startswith(own) and (found := room_of(group)) is not None
    )


def _tell(clients: Clients, hub: Hub, command: TellServers, answers: Answers[Any]) -> Outcome:
    # As for clients: one app server's mistake must not cause trouble for all others.
    _event(engineio.check_text(command.payload))
    others = [
        server
        for server in hub.servers.all()
        if server.can.takes_server_events and server.home and server.id != command.sender
    ]
    number = None
    if command.timeout:
        number = hub.questions.begin()
        deadline = clients.clock() + min(clients.invoke_timeout, command.timeout)
        hub.questions.ask(number, {server: server.id for server in others}, answers, deadline)
    for server in others:
        server.peer.told(number, command.sender, command.namespace, command.payload)
    return Outcome(reached=len(others), asked=len(others))


HANDLERS: Final[dict[type, Callable[[Clients, Hub, Any, Answers[Any]], Done]]] = {
    Invoke: _invoke,
    FetchSockets: _fetch,
    TellServers: _tell,
}
