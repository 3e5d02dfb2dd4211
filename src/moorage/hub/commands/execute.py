"""What each cast and write, and the simple asks, do on this node. Small work is done at once, large work in
steps. The rules for work in steps: `selecting` defines which connections are selected. A command that is
refused has had no effect. A connection that ends between two steps is skipped."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from heapq import nsmallest
from typing import Any, Final

from moorage.engine.upgrade import State
from moorage.hub.commands import operating
from moorage.hub.commands.deliver import (
    LONG,
    SpecialDelivery,
    deliver_to_one,
    delivering_to_one,
    expel,
    is_long,
    is_special,
)
from moorage.hub.commands.selecting import parts, selected
from moorage.hub.connections.clients import Clients
from moorage.hub.connections.fanout import Delivery
from moorage.hub.connections.quotas import check_rooms
from moorage.hub.hub import Client, Connection, Hub
from moorage.hub.outbox import SLICE
from moorage.hub.ports import AppPeer
from moorage.hub.recovery.sockets.sending import Sending
from moorage.hub.rooms import check_groups
from moorage.hub.turns import STEP, Job
from moorage.wire.commands import (
    DONE,
    NOT_FOUND,
    CloseConnections,
    Exists,
    JoinGroups,
    LeaveGroups,
    LeaveNamespace,
    ListGroup,
    ListServers,
    Member,
    Outcome,
    Selection,
    Send,
    SendToConnection,
    Server,
)
from moorage.wire.errors import PeerError
from moorage.wire.groups import namespace_group, prefix_of, room_group, room_of
from moorage.wire.reasons import API_BAD_PAYLOAD, API_CLOSED
from moorage.wire.socketio import is_emit

FEW: Final = 1_000
"""Largest amount of work that is done at once, in units of work (`hub.turns`)."""
FEW_RECIPIENTS: Final = 5_000
"""Largest number of recipients of a plain emit to one room that is done at once. Each costs a fifth of a
microsecond here, and the writes happen in slices anyway."""
JOIN_WORK: Final = 2
"""Units of work to join or leave one group."""
MANY: Final = 100
"""More groups than most connections have."""
PIECE: Final = 250
"""Groups of one connection that one step joins or leaves."""
CLOSE_WORK: Final = 20
"""Units of work to close one connection."""

Done = Outcome | Job[Outcome]


def _named(to: Selection) -> bool:
    """True if the selection names a connection or a user; an unknown one is an error, an empty set is not."""
    return to.connection is not None or to.user is not None


def _send_to_connection(clients: Clients, hub: Hub, command: SendToConnection) -> Done:
    connection = hub.directory.connections.get(command.connection)
    if connection is None:
        return NOT_FOUND
    if len(command.payload) > LONG and is_long(command.payload):
        return _sending_to_connection(clients, connection, command.payload)
    deliver_to_one(clients, connection, command.payload)
    return DONE


def _sending_to_connection(clients: Clients, connection: Connection, payload: bytes) -> Job[Outcome]:
    yield from delivering_to_one(clients, connection, payload)
    return DONE


def _send(clients: Clients, hub: Hub, command: Send) -> Done:
    # Other packets rename, remove or close sockets, and their app servers would not know.
    if not command.control and not is_emit(command.payload):
        raise PeerError(API_BAD_PAYLOAD, "an emit carries events and acks only")
    directory = hub.directory
    work = directory.work(command.to)
    if work > FEW and (work > FEW_RECIPIENTS or not _is_index(command.to)):
        return _sending(clients, hub, command, _in_recovery(hub, command))
    to = directory.select(command.to)
    if not to and command.to.connection is not None:
        return _known(hub, command.to)
    if command.volatile:
        to = [connection for connection in to if connection.outbox.ready]
    if not to:
        return Outcome(reached=0)
    delivery = _delivery(clients, command)
    if delivery.work > 1 and delivery.work * len(to) > FEW:
        return _sending(clients, hub, command, _in_recovery(hub, command))
    return Outcome(reached=delivery.to(to))


def _delivery(clients: Clients, command: Send) -> Delivery:
    if command.control and is_special(command.payload):
        return SpecialDelivery(clients, command.payload)
    return Delivery(command.payload, clients.flusher)


def _is_index(to: Selection) -> bool:
    """True if the index entry of one group is the whole answer. Azure's SDK names the group of most emits
    in a filter."""
    condition = to.filter
    if condition is None:
        return True
    one = to.group is None and condition.any_of is not None and len(condition.any_of) == 1
    return one and not condition.none_of and not condition.text


def _in_recovery(hub: Hub, command: Send) -> Sending | None:
    """What recovery has to know of an emit in steps."""
    if hub.recovery is None or not is_emit(command.payload):
        return None
    return hub.recovery.sending(command.to)


def _sending(clients: Clients, hub: Hub, command: Send, sending: Sending | None) -> Job[Outcome]:
    delivery = _delivery(clients, command)
    size = max(1, STEP // delivery.work)
    audience = _audience(hub, command.to)
    reached = 0
    for found in parts(hub.directory, command.to):
        some = tuple(c for c in found if c.outbox.ready or not command.volatile)
        for start in range(0, len(some), size):
            piece: Collection[Connection] = some[start : start + size]
            if sending is not None:
                piece = sending.left(piece)
                delivery = Delivery(sending.step(piece), clients.flusher)
            reached += delivery.to(piece, among=audience or max(SLICE, len(some)))
            yield False
        if not some:
            yield False
    return Outcome(reached=reached)


def _audience(hub: Hub, to: Selection) -> int:
    """Approximate number of selected connections; 0 if it cannot be known in advance."""
    condition = to.filter
    if condition is not None and (condition.text or condition.any_of is not None):
        return 0
    if to.user is not None:
        return len(hub.directory.of_user(to.user))
    return len(hub.directory.connections if to.group is None else hub.directory.rooms.members(to.group))


def _known(hub: Hub, to: Selection) -> Outcome:
    return DONE if to.connection in hub.directory.connections else NOT_FOUND


def _join(clients: Clients, hub: Hub, command: JoinGroups) -> Done:
    if hub.directory.work(command.to) * JOIN_WORK * max(1, len(command.groups)) > FEW:
        return _joining(clients, hub, command)
    groups = command.groups
    to = tuple(hub.directory.select(command.to))
    # Azure's SDK joins each socket's private room, in which the socket is already.
    outside = [connection for connection in to if not connection.groups.issuperset(groups)]
    if outside:
        _check_groups(clients, hub, outside, groups)
        prefixed = [(group, prefix_of(group)) for group in groups]
        for connection in outside:
            _join_one(hub, connection, prefixed)
    for connection in to:
        if connection.server.can.wants_room_changes and not command.quiet:
            _news(connection.server.peer, connection, command.groups, joined=True)
    if not to and _named(command.to):
        return NOT_FOUND
    return Outcome(reached=len(to))


def _joining(clients: Clients, hub: Hub, command: JoinGroups) -> Job[Outcome]:
    to: list[Connection] = []
    for found in parts(hub.directory, command.to):
        some = tuple(found)
        # A union of sets costs less than a join, but there is one for each connection.
        size = max(1, STEP // max(1, len(command.groups) // 10))
        for start in range(0, len(some), size):
            _check_groups(clients, hub, some[start : start + size], command.groups)
            yield False
        to += some
        yield False
    pieces = [command.groups[at : at + PIECE] for at in range(0, len(command.groups), PIECE)]
    work = 0
    for connection in to:
        for piece in pieces:
            # Between two steps other commands may join the same connections or close them.
            if connection.session.state == State.CLOSED:
                break
            _check_groups(clients, hub, (connection,), piece)
            _join_one(hub, connection, [(group, prefix_of(group)) for group in piece])
            if not command.quiet and connection.server.can.wants_room_changes:
                _news(connection.server.peer, connection, piece, joined=True)
            work += 1 + JOIN_WORK * len(piece)
            if work >= STEP:
                work = 0
                yield False
    if not to and _named(command.to):
        return NOT_FOUND
    return Outcome(reached=len(to))


def _check_groups(clients: Clients, hub: Hub, to: Iterable[Connection], new: tuple[str, ...]) -> None:
    if hub.settings.max_rooms:
        check_rooms(hub.directory.rooms, hub.settings.max_rooms, new)
    limit = clients.limits.max_groups
    for connection in to:
        groups = connection.groups
        if connection.tracks is not None:
            # Those of sockets that are just being recovered for it.
            claimed = [track.groups for track in connection.tracks.values() if track.connection is None]
            groups = groups.union(*claimed) if claimed else groups
        check_groups(limit, groups, new)


def _join_one(hub: Hub, connection: Connection, prefixed: Iterable[tuple[str, str]]) -> None:
    inside = _prefixes(connection)
    for group, prefix in prefixed:
        # A join that was under way when the client left the namespace must not bring the
        # group back, because nothing would remove it before the connection ends.
        if not prefix or prefix in inside:
            hub.directory.rooms.join(connection, group)


def _news(peer: AppPeer[Client], connection: Connection, groups: Iterable[str], *, joined: bool) -> None:
    """Notify the app server of a socket that something else moved, so that its list of rooms stays right."""
    rooms: dict[str, list[str]] = {}
    for group in groups:
        found = room_of(group)
        if found is not None and connection.session.peer.namespaces.get(found[0]):
            rooms.setdefault(found[0], []).append(found[1])
    for namespace, names in rooms.items():
        peer.moved(connection, namespace, tuple(names), joined=joined)


def _prefixes(connection: Connection) -> set[str]:
    return {namespace_group(namespace) for namespace in connection.session.peer.namespaces}


def _leave(clients: Clients, hub: Hub, command: LeaveGroups) -> Done:
    groups = command.groups
    each = JOIN_WORK * max(1, MANY if groups is None else len(groups))
    if hub.directory.work(command.to) * each > FEW:
        return _leaving(clients, hub, command)
    to = tuple(hub.directory.select(command.to))
    for connection in to:
        _leave_some(hub, command, connection, _joined(connection) if groups is None else groups)
    if not to and command.to.connection is not None:
        return _known(hub, command.to)
    return Outcome(reached=len(to))


def _leaving(_clients: Clients, hub: Hub, command: LeaveGroups) -> Job[Outcome]:
    to = yield from selected(hub.directory, command.to)
    work = 0
    for connection in to:
        groups = tuple(_joined(connection)) if command.groups is None else command.groups
        for at in range(0, len(groups), PIECE):
            if connection.session.state == State.CLOSED:
                break
            piece = groups[at : at + PIECE]
            _leave_some(hub, command, connection, piece)
            work += 1 + JOIN_WORK * len(piece)
            if work >= STEP:
                work = 0
                yield False
    if not to and command.to.connection is not None:
        return _known(hub, command.to)
    return Outcome(reached=len(to))


def _leave_some(hub: Hub, command: LeaveGroups, connection: Connection, groups: Collection[str]) -> None:
    for group in groups:
        hub.directory.rooms.leave(connection, group)
    if not command.quiet and connection.server.can.wants_room_changes:
        _news(connection.server.peer, connection, groups, joined=False)


def _joined(connection: Connection) -> set[str]:
    """A connection's groups, except those that Socket.IO itself needs. Without its namespace's group and
    its private room a socket would stay connected and receive no emit."""
    kept: set[str] = set()
    for namespace, sid in connection.session.peer.namespaces.items():
        if sid:
            kept |= {namespace_group(namespace), room_group(namespace, sid)}
    return connection.groups - kept


def _close(clients: Clients, hub: Hub, command: CloseConnections) -> Done:
    return _each(
        hub,
        command.to,
        lambda connection: _close_one(clients, connection, command.why),
        named=_named(command.to),
    )


def _close_one(clients: Clients, connection: Connection, why: str) -> bool:
    was_open = connection.session.state != State.CLOSED
    clients.disconnect(connection, API_CLOSED, who="api", detail=why)
    return was_open


def _leave_namespace(clients: Clients, hub: Hub, command: LeaveNamespace) -> Done:
    if command.to.connection is not None and not hub.directory.select(command.to):
        return _known(hub, command.to)
    return _each(
        hub,
        command.to,
        lambda connection: expel(clients, connection, command.namespace, close=command.close),
        named=False,
    )


def _each(hub: Hub, to: Selection, act: Callable[[Connection], bool], *, named: bool) -> Done:
    """Call `act` for each selected connection. A call costs about as much as closing a connection."""
    if hub.directory.work(to) * CLOSE_WORK > FEW:
        return _acting(hub, to, act, named=named)
    found = tuple(hub.directory.select(to))
    if not found and named:
        return NOT_FOUND
    return Outcome(reached=sum([act(connection) for connection in found]))


def _acting(hub: Hub, to: Selection, act: Callable[[Connection], bool], *, named: bool) -> Job[Outcome]:
    reached = count = 0
    size = max(1, STEP // CLOSE_WORK)
    for part in parts(hub.directory, to):
        some = tuple(part)
        for at in range(0, len(some), size):
            reached += sum([act(connection) for connection in some[at : at + size]])
            yield False
        count += len(some)
        yield False
    return NOT_FOUND if named and not count else Outcome(reached=reached)


def _exists(_clients: Clients, hub: Hub, command: Exists) -> Done:
    if hub.directory.work(command.to) > FEW and command.to.filter is not None:
        return _searching(hub, command)
    return DONE if hub.directory.select(command.to) else NOT_FOUND


def _searching(hub: Hub, command: Exists) -> Job[Outcome]:
    for found in parts(hub.directory, command.to):
        if found:
            return DONE
        yield False
    return NOT_FOUND


def _list(_clients: Clients, hub: Hub, command: ListGroup) -> Done:
    members = hub.directory.rooms.members(command.group)
    if len(members) > FEW:
        return _listing(hub, command)
    return _page(command, _first(command, members))


def _listing(hub: Hub, command: ListGroup) -> Job[Outcome]:
    page: list[Connection] = []
    for found in parts(hub.directory, Selection(group=command.group)):
        page = _first(command, (*page, *found))
        yield False
    return _page(command, [c for c in page if command.group in c.groups])


def _first(command: ListGroup, some: Collection[Connection]) -> list[Connection]:
    later = (c for c in some if c.id > command.after)
    return nsmallest(command.limit + 1, later, key=lambda connection: connection.id)


def _page(command: ListGroup, page: list[Connection]) -> Outcome:
    members = tuple(Member(c.id, c.user_id) for c in page[: command.limit])
    return Outcome(reached=len(members), members=members, more=len(page) > command.limit)


def _servers(_clients: Clients, hub: Hub, _command: ListServers) -> Done:
    # Each node counts its own clients. Those of one app server are added up.
    rows = [
        Server(each.id, each.dialect, each.up, len(each.clients))
        for each in hub.servers.serving()
        if each.clients or each not in hub.servers.elsewhere
    ]
    return Outcome(servers=tuple(rows))


HANDLERS: Final[dict[type, Callable[[Clients, Hub, Any], Done]]] = {
    SendToConnection: _send_to_connection,
    Send: _send,
    JoinGroups: _join,
    LeaveGroups: _leave,
    LeaveNamespace: _leave_namespace,
    CloseConnections: _close,
    Exists: _exists,
    ListGroup: _list,
    ListServers: _servers,
    **operating.HANDLERS,
}
