"""What commands mean for sockets that may be recovered. Emits are recorded before they are carried out. What
changes the groups of connections, or ends them, does the same to parked sockets, in steps for many."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from typing import Any, Final, Protocol, TypeVar

from msgspec.structs import replace

from moorage.hub.hub import Connection, Hub
from moorage.hub.recovery.claims import SocketTrack
from moorage.hub.recovery.sockets.state import Recovery
from moorage.hub.recovery.sockets.track import matches
from moorage.hub.rooms import check_groups, weight
from moorage.hub.settings import Limits
from moorage.hub.turns import STEP, Job
from moorage.wire import socketio
from moorage.wire.commands import (
    CloseConnections,
    Command,
    JoinGroups,
    LeaveGroups,
    LeaveNamespace,
    Outcome,
    Selection,
    Send,
    SendToConnection,
)
from moorage.wire.engineio import SEPARATOR, check_text
from moorage.wire.groups import namespace_group, prefix_of, room_of
from moorage.wire.recovery.offsets import parts_of

FEW: Final = 1_000
"""Largest amount of work for parked sockets that is done at once, in units of work (`hub.turns`)."""
CHANGE_WORK: Final = 4
"""Units of work to change one group of a parked socket, or to end it."""
PIECE: Final = 250
"""Groups of one socket that one step changes."""

HubRecovery = Recovery[Connection]
Change = JoinGroups | LeaveGroups | LeaveNamespace | CloseConnections


class Limited(Protocol):
    """The clients of a node."""

    limits: Limits


ClientsT = TypeVar("ClientsT", bound=Limited)
Handler = Callable[[ClientsT, Hub, Any], Outcome | Job[Outcome]]
"""Carries out a command for connections (`hub.commands.execute`)."""


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


def with_parked(
    clients: ClientsT, hub: Hub, recovery: HubRecovery, command: Command, handler: Handler[ClientsT]
) -> Outcome | Job[Outcome]:
    """Carry out a command with its `handler`, and for parked sockets. Raises `PeerError` if it is refused."""
    if isinstance(command, SendToConnection):
        if recovery.away.of(command.connection) and socketio.is_emit(command.payload):
            recovery.send(Selection(connection=command.connection), command.payload)
        return handler(clients, hub, command)
    act = _ACTS.get(type(command))
    if act is None:
        return handler(clients, hub, command)
    assert isinstance(command, Change)
    work = recovery.away.work(command.to)
    begun: Job[Outcome] | None = None
    if work * _work_of(command) <= FEW:
        parked = tuple(recovery.away.select(command.to))
        _check(clients, recovery, command, parked)
        outcome = handler(clients, hub, command)
        if isinstance(outcome, Outcome):
            for track in parked:
                act(recovery, command, track)
            return outcome
        begun = outcome
    return _in_steps(clients, hub, recovery, command, handler, begun)


def _in_steps(
    clients: ClientsT,
    hub: Hub,
    recovery: HubRecovery,
    command: Change,
    handler: Handler[ClientsT],
    begun: Job[Outcome] | None,
) -> Job[Outcome]:
    """Clients come and go between the steps. A socket that is parked at the beginning or at the end is
    reached here, and any other one by the handler."""
    parked = yield from _candidates(recovery, command.to)
    size = max(1, STEP // _work_of(command))
    for start in range(0, len(parked), size):
        chosen = [track for track in parked[start : start + size] if matches(command.to, track)]
        _check(clients, recovery, command, chosen)
        yield False
    outcome = handler(clients, hub, command) if begun is None else begun
    if not isinstance(outcome, Outcome):
        outcome = yield from outcome
    seen: set[SocketTrack] = set()
    later = yield from _candidates(recovery, command.to)
    for some in (parked, later):
        for place, track in enumerate(some, 1):
            if track not in seen:
                seen.add(track)
                yield from _act(clients, hub, recovery, command, handler, track)
            if place % size == 0:
                yield False
    return outcome


def _act(
    clients: ClientsT,
    hub: Hub,
    recovery: HubRecovery,
    command: Change,
    handler: Handler[ClientsT],
    track: SocketTrack,
) -> Job[None]:
    away, act = recovery.away.connections, _ACTS[type(command)]
    chosen = away.get(track.pid) is track and matches(command.to, track)
    if chosen:
        for piece in _pieces(command):
            if away.get(track.pid) is not track:
                break
            act(recovery, piece, track)
            if piece is not command:
                yield False
        else:
            return
    connection = track.connection
    if connection is not None and (chosen or matches(command.to, connection)):
        # Its client has come back meanwhile.
        again = handler(clients, hub, replace(command, to=Selection(connection=connection.id)))
        if not isinstance(again, Outcome):
            yield from again


def _candidates(recovery: HubRecovery, to: Selection) -> Generator[bool, None, list[SocketTrack]]:
    """Parked sockets that a selection may have."""
    away, groups = recovery.away, None if to.filter is None else to.filter.any_of
    if to.group is not None or to.user is not None or not groups:
        return list(away.select(replace(to, filter=None)))
    found: set[SocketTrack] = set()
    work = 0
    for group in groups:
        members = away.rooms.members(group)
        found.update(members)
        work += 1 + len(members)
        if work >= STEP:
            work = 0
            yield False
    return list(found)


def _work_of(command: Change) -> int:
    """Units of work for one parked socket."""
    each = weight(command.to.filter) if command.to.filter is not None else 1
    groups = command.groups if isinstance(command, JoinGroups | LeaveGroups) else None
    return each + CHANGE_WORK * max(1, 0 if groups is None else min(len(groups), PIECE))


def _pieces(command: Change) -> Iterable[Change]:
    """The command, or several for some of its groups each."""
    groups = command.groups if isinstance(command, JoinGroups | LeaveGroups) else None
    if groups is None or len(groups) <= PIECE:
        return (command,)
    return [replace(command, groups=groups[at : at + PIECE]) for at in range(0, len(groups), PIECE)]


def _check(clients: Limited, recovery: HubRecovery, command: Change, some: Iterable[SocketTrack]) -> None:
    """Raises `PeerError` (too-many-groups) if one of these sockets cannot join. The limit is that of its
    connection, with all namespaces."""
    if isinstance(command, JoinGroups):
        for track in some:
            groups = [each.groups for each in recovery.away.of(track.id)]
            check_groups(clients.limits.max_groups, set().union(*groups), command.groups)


def apply(recovery: HubRecovery, command: Change) -> list[str]:
    """Carry out a command for parked sockets alone, at once. Returns the `pid`s of those that it selects."""
    act = _ACTS[type(command)]
    some = tuple(recovery.away.select(command.to))
    for track in some:
        act(recovery, command, track)
    return [track.pid for track in some]


def _join(recovery: HubRecovery, command: JoinGroups, track: SocketTrack) -> None:
    for group in command.groups:
        recovery.change_parked(track, group, joined=True)
    if not command.quiet:
        _news(track, command.groups, joined=True)


def _leave(recovery: HubRecovery, command: LeaveGroups, track: SocketTrack) -> None:
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


def _leave_namespace(recovery: HubRecovery, command: LeaveNamespace, track: SocketTrack) -> None:
    others = recovery.away.of(track.id) if command.close else (track,)
    for each in tuple(others):
        if command.close or each.namespace == command.namespace:
            recovery.dismiss(each)


def _close(recovery: HubRecovery, _command: CloseConnections, track: SocketTrack) -> None:
    recovery.dismiss(track)


_ACTS: Final[dict[type, Callable[[HubRecovery, Any, SocketTrack], None]]] = {
    JoinGroups: _join,
    LeaveGroups: _leave,
    LeaveNamespace: _leave_namespace,
    CloseConnections: _close,
}
