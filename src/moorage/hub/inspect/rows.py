"""One connection as operators see it. What could be a secret is masked."""

from __future__ import annotations

from typing import Final

import msgspec

from moorage.hub.handover.move import Move
from moorage.hub.hub import Connection
from moorage.hub.inspect.masking import masked_headers, masked_query
from moorage.hub.turns import Job
from moorage.wire.groups import prefix_of, room_of
from moorage.wire.handshake import Kept
from moorage.wire.inspect.forms import ConnectionFull, ConnectionRow, SocketRow

STEP: Final = 50
"""Groups whose names are decoded in one step."""
MOST: Final = 100
"""Rooms and groups that are listed of one socket or connection."""


class _Told(msgspec.Struct, gc=False):
    """What the rows need of a handshake (`wire.handshake.handshake_json`)."""

    address: str = ""


class _AllTold(msgspec.Struct, gc=False):
    query: dict[str, list[str]] = {}
    headers: dict[str, list[str]] = {}
    url: str = ""


_told = msgspec.json.Decoder(_Told).decode
_all_told = msgspec.json.Decoder(_AllTold).decode


def address_of(connection: Connection) -> str:
    """The client's address, "" if it is unknown. Takes about a microsecond."""
    handshake = connection.handshake
    return handshake.address if isinstance(handshake, Kept) else _told(bytes(handshake)).address


def row(connection: Connection, node: str, now: float) -> ConnectionRow:
    """A row of a list. `node` is the name of this node."""
    return ConnectionRow(
        id=connection.id,
        hub=connection.hub.name,
        user=connection.user_id,
        node=node,
        address=address_of(connection),
        transport="websocket" if connection.outbox.framed else "polling",
        app_server=connection.server.id,
        age=round(now - connection.opened_at, 3),
        queued_bytes=connection.outbox.size,
        namespaces=[name for name, sid in connection.session.peer.namespaces.items() if sid],
        messages_in=connection.session.received,
        messages_out=connection.outbox.sent,
    )


def full(connection: Connection, node: str, now: float) -> Job[ConnectionFull]:
    """Everything that is known of a connection without asking its app server. It may be in thousands of
    groups, so it is described in steps."""
    rooms: dict[str, list[str]] = {}
    others: list[str] = []
    for looked, group in enumerate(tuple(connection.groups)):
        if looked % STEP == STEP - 1:
            yield False
        found = room_of(group)
        if found is not None:
            rooms.setdefault(found[0], []).append(found[1])
        elif not prefix_of(group):
            others.append(group)
    told = _all_told(bytes(connection.handshake))
    short = row(connection, node, now)
    return ConnectionFull(
        **{name: getattr(short, name) for name in short.__struct_fields__},
        sockets=[
            _socket(namespace, sid, rooms.get(namespace, []))
            for namespace, sid in connection.session.peer.namespaces.items()
            if sid
        ],
        other_groups=sorted(others)[:MOST],
        path=told.url.partition("?")[0],
        query=masked_query(told.query),
        headers=masked_headers(told.headers),
        reading=not connection.held,
        moving=isinstance(connection.channel, Move),
    )


def _socket(namespace: str, sid: str, rooms: list[str]) -> SocketRow:
    names = sorted(room for room in rooms if room != sid)
    return SocketRow(namespace=namespace, id=sid, rooms=names[:MOST], rooms_total=len(names))
