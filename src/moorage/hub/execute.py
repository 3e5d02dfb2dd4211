"""What each command does on this node."""

from __future__ import annotations

from collections.abc import Callable
from heapq import nsmallest
from typing import TYPE_CHECKING, Any

from moorage.hub.deliver import deliver
from moorage.hub.hub import Hub
from moorage.hub.ports import Answers
from moorage.wire import engineio, socketio
from moorage.wire.commands import (
    DONE,
    NOT_FOUND,
    CloseConnections,
    Command,
    Exists,
    Invoke,
    JoinGroups,
    LeaveGroups,
    ListGroup,
    Member,
    Outcome,
    Selection,
    Send,
    SendToConnection,
)
from moorage.wire.errors import PeerError, UsageError
from moorage.wire.groups import namespace_group, prefix_of, room_group
from moorage.wire.reasons import API_BAD_PAYLOAD, API_CLOSED, TOO_MANY_GROUPS

if TYPE_CHECKING:
    from moorage.hub.connection import Connection
    from moorage.hub.node import Node


def run(node: Node, command: Command, answers: Answers | None) -> Outcome:
    """Carry out `command`; see `Node.execute`."""
    # A hub that does not exist answers like one that nobody is in.
    hub = node.hub(command.hub) or Hub(command.hub)
    if isinstance(command, Invoke):
        if answers is None:
            raise UsageError("Invoke needs somewhere to send its answers")
        return _invoke(node, hub, command, answers)
    return _HANDLERS[type(command)](node, hub, command)


def _named(to: Selection) -> bool:
    """Does a selection name one that must be there, or a set that may be empty?"""
    return to.connection is not None or to.user is not None


def _send_to_connection(node: Node, hub: Hub, command: SendToConnection) -> Outcome:
    connection = hub.directory.connections.get(command.connection)
    if connection is None:
        return NOT_FOUND
    deliver(node, (connection,), command.payload)
    return DONE


def _send(node: Node, hub: Hub, command: Send) -> Outcome:
    to = hub.directory.select(command.to)
    if not to and command.to.connection is not None:
        return _known(hub, command.to)
    return Outcome(reached=deliver(node, to, command.payload))


def _known(hub: Hub, to: Selection) -> Outcome:
    return DONE if to.connection in hub.directory.connections else NOT_FOUND


def _invoke(node: Node, hub: Hub, command: Invoke, answers: Answers) -> Outcome:
    packets = command.payload.split(engineio.RS)
    header = socketio.parse_header(packets[0])
    bare = header.body >= len(packets[0])
    if header.type not in (socketio.EVENT, socketio.BINARY_EVENT) or header.id is not None or bare:
        raise PeerError(API_BAD_PAYLOAD, "an event without ack id is expected")
    asked = set(hub.directory.select(command.to))
    ack_id = hub.invocations.begin()
    packets[0] = socketio.with_ack_id(packets[0], header, ack_id)
    deliver(node, asked, engineio.RS.join(packets))
    hub.invocations.ask(ack_id, set(asked), answers, node.clock() + node.links.invoke_timeout)
    return Outcome(reached=len(asked))


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
    if not to and _named(command.to):
        return NOT_FOUND
    return Outcome(reached=len(to))


def _prefixes(connection: Connection) -> set[str]:
    return {namespace_group(namespace) for namespace in connection.session.peer.namespaces}


def _leave(node: Node, hub: Hub, command: LeaveGroups) -> Outcome:
    to = tuple(hub.directory.select(command.to))
    for connection in to:
        for group in _joined(connection) if command.groups is None else command.groups:
            hub.directory.rooms.leave(connection, group)
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
    CloseConnections: _close,
    Exists: _exists,
    ListGroup: _list,
}
