"""What each command does on this node."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from heapq import nsmallest
from typing import TYPE_CHECKING, Any

from moorage.hub import asking
from moorage.hub.deliver import deliver, deliver_to_one, expel
from moorage.hub.hub import Hub
from moorage.hub.ports import Answers, AppPeer
from moorage.wire.commands import (
    DONE,
    NOT_FOUND,
    CloseConnections,
    Command,
    Exists,
    JoinGroups,
    LeaveGroups,
    LeaveNamespace,
    ListGroup,
    Member,
    Outcome,
    Selection,
    Send,
    SendToConnection,
)
from moorage.wire.errors import PeerError, UsageError
from moorage.wire.groups import namespace_group, prefix_of, room_group, room_of
from moorage.wire.reasons import API_BAD_PAYLOAD, API_CLOSED, TOO_MANY_GROUPS
from moorage.wire.socketio import is_emit

if TYPE_CHECKING:
    from moorage.hub.connection import Connection
    from moorage.hub.node import Node


def run(node: Node, command: Command, answers: Answers[Any] | None) -> Outcome:
    """Carry out `command`; see `Node.execute`."""
    # A hub that does not exist answers like one that nobody is in.
    hub = node.hub(command.hub) or Hub(command.hub)
    handler = _HANDLERS.get(type(command))
    if handler is not None:
        return handler(node, hub, command)
    if answers is None:
        raise UsageError(f"{type(command).__name__} needs somewhere to send its answers")
    return asking.HANDLERS[type(command)](node, hub, command, answers)


def _named(to: Selection) -> bool:
    """Does a selection name one that must be there, or a set that may be empty?"""
    return to.connection is not None or to.user is not None


def _send_to_connection(node: Node, hub: Hub, command: SendToConnection) -> Outcome:
    connection = hub.directory.connections.get(command.connection)
    if connection is None:
        return NOT_FOUND
    deliver_to_one(node, connection, command.payload)
    return DONE


def _send(node: Node, hub: Hub, command: Send) -> Outcome:
    # Other packets would rename, remove or close sockets behind the backs of their app servers.
    if not command.control and not is_emit(command.payload):
        raise PeerError(API_BAD_PAYLOAD, "an emit carries events and acks only")
    to = hub.directory.select(command.to)
    if not to and command.to.connection is not None:
        return _known(hub, command.to)
    if command.volatile:
        to = [connection for connection in to if connection.outbox.ready]
    return Outcome(reached=deliver(node, to, command.payload))


def _known(hub: Hub, to: Selection) -> Outcome:
    return DONE if to.connection in hub.directory.connections else NOT_FOUND


def _join(node: Node, hub: Hub, command: JoinGroups) -> Outcome:
    to = tuple(hub.directory.select(command.to))
    limit = node.limits.max_groups
    for connection in to:
        # The sum is cheap and nearly always small; only the union knows what is joined already.
        groups = connection.groups
        if len(groups) + len(command.groups) > limit and len(groups.union(command.groups)) > limit:
            raise PeerError(TOO_MANY_GROUPS, f"at most {limit}")
    prefixed = [(group, prefix_of(group)) for group in command.groups]
    for connection in to:
        inside = _prefixes(connection)
        for group, prefix in prefixed:
            # A join that was under way when the client left the namespace must not bring the
            # group back: nothing would clean it up before the connection ends.
            if not prefix or prefix in inside:
                hub.directory.rooms.join(connection, group)
        if not command.quiet and connection.server.peer is not None:
            _news(connection.server.peer, connection, command.groups, joined=True)
    if not to and _named(command.to):
        return NOT_FOUND
    return Outcome(reached=len(to))


def _news(peer: AppPeer, connection: Connection, groups: Iterable[str], *, joined: bool) -> None:
    """The app server of a socket that others move keeps its list of the socket's rooms right."""
    rooms: dict[str, list[str]] = {}
    for group in groups:
        found = room_of(group)
        if found is not None and connection.session.peer.namespaces.get(found[0]):
            rooms.setdefault(found[0], []).append(found[1])
    for namespace, names in rooms.items():
        peer.moved(connection, namespace, tuple(names), joined=joined)


def _prefixes(connection: Connection) -> set[str]:
    return {namespace_group(namespace) for namespace in connection.session.peer.namespaces}


def _leave(node: Node, hub: Hub, command: LeaveGroups) -> Outcome:
    to = tuple(hub.directory.select(command.to))
    for connection in to:
        groups = tuple(_joined(connection)) if command.groups is None else command.groups
        for group in groups:
            hub.directory.rooms.leave(connection, group)
        if not command.quiet and connection.server.peer is not None:
            _news(connection.server.peer, connection, groups, joined=False)
    if not to and command.to.connection is not None:
        return _known(hub, command.to)
    return Outcome(reached=len(to))


def _joined(connection: Connection) -> set[str]:
    """A connection's groups but for those that Socket.IO itself needs: a socket without its
    namespace's group and its private room would stay connected and hear no emit."""
    kept: set[str] = set()
    for namespace, sid in connection.session.peer.namespaces.items():
        if sid:
            kept |= {namespace_group(namespace), room_group(namespace, sid)}
    return connection.groups - kept


def _close(node: Node, hub: Hub, command: CloseConnections) -> Outcome:
    to = tuple(hub.directory.select(command.to))
    for connection in to:
        node.disconnect(connection, API_CLOSED, who="api", detail=command.why)
    if not to and _named(command.to):
        return NOT_FOUND
    return Outcome(reached=len(to))


def _leave_namespace(node: Node, hub: Hub, command: LeaveNamespace) -> Outcome:
    to = tuple(hub.directory.select(command.to))
    if not to and command.to.connection is not None:
        return _known(hub, command.to)
    reached = sum(expel(node, c, command.namespace, close=command.close) for c in to)
    return Outcome(reached=reached)


def _exists(node: Node, hub: Hub, command: Exists) -> Outcome:
    return DONE if hub.directory.select(command.to) else NOT_FOUND


def _list(node: Node, hub: Hub, command: ListGroup) -> Outcome:
    later = (c for c in hub.directory.rooms.members(command.group) if c.id > command.after)
    page = nsmallest(command.limit + 1, later, key=lambda connection: connection.id)
    members = tuple(Member(c.id, c.user_id) for c in page[: command.limit])
    return Outcome(reached=len(members), members=members, more=len(page) > command.limit)


_HANDLERS: dict[type, Callable[[Node, Hub, Any], Outcome]] = {
    SendToConnection: _send_to_connection,
    Send: _send,
    JoinGroups: _join,
    LeaveGroups: _leave,
    LeaveNamespace: _leave_namespace,
    CloseConnections: _close,
    Exists: _exists,
    ListGroup: _list,
}
