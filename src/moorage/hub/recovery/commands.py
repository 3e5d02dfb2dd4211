"""What commands mean for sockets that may be recovered. Emits are recorded before they are carried out. What
changes the groups of connections, or ends them, does the same to parked sockets."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from msgspec.structs import replace

from moorage.hub.hub import Connection
from moorage.hub.recovery.claims import SocketTrack
from moorage.hub.recovery.state import Recovery
from moorage.wire import socketio
from moorage.wire.commands import (
    CloseConnections,
    Command,
    JoinGroups,
    LeaveGroups,
    LeaveNamespace,
    Selection,
    Send,
    SendToConnection,
)
from moorage.wire.engineio import SEPARATOR, check_text
from moorage.wire.groups import namespace_group, prefix_of, room_of
from moorage.wire.recovery.offsets import parts_of

HubRecovery = Recovery[Connection]


def recorded(recovery: HubRecovery, command: Send) -> Send:
    """The emit with offsets in its events. One that will be refused is not recorded. Raises `PeerError`
    (bad-utf8)."""
    payload = check_text(command.payload)
    if payload.count(SEPARATOR) >= socketio.MAX_EMIT or not socketio.is_emit(payload):
        return command
    to = command.to if _in_one_namespace(command.to) else _within(command.to, payload)
    payload = recovery.send(
        to, payload, volatile=command.volatile, source=command.source, number=command.number
    )
    # Positional arguments: half the time of `replace`.
    return Send(command.hub, to, payload, command.volatile, command.control, command.source, command.number)


def _in_one_namespace(to: Selection) -> bool:
    """True if all groups of the selection belong to namespaces, so that all selected have sockets there."""
    if to.group is not None:
        return bool(prefix_of(to.group))
    groups = None if to.filter is None else to.filter.any_of
    return bool(groups) and all([prefix_of(group) for group in groups or ()])


def _within(to: Selection, payload: bytes) -> Selection:
    """Only the connections with a socket in the namespace of the payload. A stock client keeps events that
    come before the answer to its CONNECT. So a client that comes back could get them twice, and a new one
    would get events from before its connection, which no Socket.IO server sends."""
    names = {part.namespace for part in parts_of(payload)} - {""}
    return replace(to, within=namespace_group(names.pop())) if len(names) == 1 else to


def apply(recovery: HubRecovery, command: Command) -> None:
    """Carry out a command for parked sockets."""
    handler = _HANDLERS.get(type(command))
    if handler is not None:
        handler(recovery, command)


def _send_to_connection(recovery: HubRecovery, command: SendToConnection) -> None:
    if recovery.away.of(command.connection) and socketio.is_emit(command.payload):
        to = Selection(connection=command.connection)
        recovery.send(to, command.payload)


def _join(recovery: HubRecovery, command: JoinGroups) -> None:
    for track in tuple(recovery.away.select(command.to)):
        for group in command.groups:
            recovery.change_parked(track, group, joined=True)
        if not command.quiet:
            _news(track, command.groups, joined=True)


def _leave(recovery: HubRecovery, command: LeaveGroups) -> None:
    for track in tuple(recovery.away.select(command.to)):
        groups = command.groups
        if groups is None:
            groups = tuple(track.groups - {track.prefix, track.private})
        for group in groups:
            recovery.change_parked(track, group, joined=False)
        if not command.quiet:
            _news(track, groups, joined=False)


def _news(track: SocketTrack, groups: Iterable[str], *, joined: bool) -> None:
    """Notify the app server that is restoring the socket, with the rooms from before the change, or the one
    where it lives on without its client."""
    claim = track.claim
    connection = track.quiet if claim is None else claim.connection
    if connection is None or (claim is not None and claim.deadline is not None):
        return
    found = [room_of(group) for group in groups]
    rooms = tuple(room for namespace, room in filter(None, found) if namespace == track.namespace)
    if rooms:
        connection.server.peer.moved(connection, track.namespace, rooms, joined=joined)


def _leave_namespace(recovery: HubRecovery, command: LeaveNamespace) -> None:
    for track in tuple(recovery.away.select(command.to)):
        others = recovery.away.of(track.id) if command.close else (track,)
        for each in tuple(others):
            if command.close or each.namespace == command.namespace:
                recovery.dismiss(each)


def _close(recovery: HubRecovery, command: CloseConnections) -> None:
    for track in tuple(recovery.away.select(command.to)):
        recovery.dismiss(track)


_HANDLERS: Final[dict[type, Callable[[HubRecovery, Any], None]]] = {
    SendToConnection: _send_to_connection,
    JoinGroups: _join,
    LeaveGroups: _leave,
    LeaveNamespace: _leave_namespace,
    CloseConnections: _close,
}
