"""A command of an app server that a lost node may not have carried out, at the heir of that node."""

from __future__ import annotations

from typing import NamedTuple

from msgspec.structs import replace

from moorage.hub.journal.heirs import Heirs
from moorage.hub.recovery.commands import Change
from moorage.wire.commands import CloseConnections, JoinGroups, LeaveGroups, Selection, Send, SendToConnection

ForClient = SendToConnection | CloseConnections | JoinGroups | LeaveGroups


class Unfinished(NamedTuple):
    """The command number `place`, from 0, of the batch `batch` of a session."""

    session: str
    batch: int
    place: int
    client: int
    """The app server's number of the client that the command is for; 0 for a command that names groups."""
    command: Send | Change | ForClient
    """If there is a client, it has no connection yet."""


def carry_out(heirs: Heirs, node: str, hub: str, unfinished: Unfinished) -> None:
    """Carry it out for the sockets of the lost node, if this node is its heir. Raises `PeerError`."""
    session, batch, place, client, command = unfinished
    late = heirs.latecomers(node, hub)
    if late is not None:
        if late.is_news(session, batch, place):
            if isinstance(command, SendToConnection) or client:
                late.client(client)
            else:
                late.command(command)
        return
    estate = heirs.estate(node, hub)
    if estate is None or not estate.is_news(session, batch, place):
        return
    connections = {track.id for track in estate.sockets(client)} if client else ()
    if isinstance(command, SendToConnection):
        for connection in connections:
            heirs.packet(node, hub, connection, command.payload)
        return
    if not client:
        heirs.hand_over(node, hub, command)
    for connection in connections:
        heirs.hand_over(node, hub, replace(command, to=Selection(connection=connection)))
