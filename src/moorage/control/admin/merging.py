"""Puts the answers of several nodes together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Final

import msgspec

from moorage.wire.inspect.forms import (
    BusyRow,
    HubRow,
    NodeBusiest,
    NodeHistory,
    NodeHubs,
    NodeRooms,
    Point,
    RoomRow,
)

Cursor = tuple[str, str]
"""A hub's name in lower case, and the id of a connection."""


class Page(msgspec.Struct, frozen=True):
    """A `NodeConnections` whose rows are not decoded: that would take longer than all else."""

    connections: list[msgspec.Raw]
    places: list[Cursor]
    following: Cursor | None
    limited: bool = False


class Ends(msgspec.Struct, frozen=True):
    """A `NodeDisconnects`, likewise."""

    disconnects: list[msgspec.Raw]
    times: list[float]


def page(parts: Mapping[str, Page], limit: int) -> tuple[list[msgspec.Raw], Cursor | None]:
    """One page of the pages of nodes (by incarnation), and behind which connection the next one begins. Rows
    are in the order of hub, node, and then as their node gives them. So what follows a node's last row of a
    page is unknown, as long as this node has more."""
    rows = [
        ((place[0], node), place, row)
        for node, part in sorted(parts.items())
        for place, row in zip(part.places, part.connections, strict=True)
    ]
    rows.sort(key=lambda entry: entry[0])
    ends = [((part.following[0], node), part.following) for node, part in parts.items() if part.following]
    following: Cursor | None = None
    if ends:
        last, following = min(ends, key=lambda end: end[0])
        rows = [entry for entry in rows if entry[0] <= last]
    if len(rows) > limit:
        rows = rows[:limit]
        following = rows[-1][1]
    return [row for _, _, row in rows], following


def newest(parts: Iterable[Ends], limit: int) -> list[msgspec.Raw]:
    """The newest ends of all nodes, the newest first."""
    rows = [pair for part in parts for pair in zip(part.times, part.disconnects, strict=True)]
    return [row for _, row in sorted(rows, key=lambda pair: -pair[0])[:limit]]


def hubs(parts: Iterable[NodeHubs]) -> list[HubRow]:
    """The figures of all nodes, added up."""
    found: dict[str, HubRow] = {}
    for part in parts:
        for row in part.hubs:
            known = found.get(row.name.casefold())
            found[row.name.casefold()] = row if known is None else _sum(known, row)
    return [found[name] for name in sorted(found)]


def _sum(known: HubRow, row: HubRow) -> HubRow:
    return HubRow(
        name=known.name,
        connections=known.connections + row.connections,
        sockets=known.sockets + row.sockets,
        rooms=known.rooms + row.rooms,
        app_servers=known.app_servers + row.app_servers,
        parked=known.parked + row.parked,
        messages_in=_both(known.messages_in, row.messages_in),
        messages_out=_both(known.messages_out, row.messages_out),
    )


def _both(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else one + other


_BUSY: Final[dict[str, Callable[[BusyRow], float]]] = {
    "messages": lambda row: row.rate_in + row.rate_out,
    "in": lambda row: row.rate_in,
    "out": lambda row: row.rate_out,
    "queued": lambda row: row.queued_bytes,
}


def busiest(parts: Iterable[NodeBusiest], sort: str, limit: int) -> list[BusyRow]:
    """The busiest connections of all nodes, the busiest first."""
    busy = _BUSY[sort]
    rows = [row for part in parts for row in part.connections]
    return sorted(rows, key=lambda row: (-busy(row), row.id))[:limit]


def candidates(parts: Iterable[NodeRooms]) -> list[RoomRow]:
    """Every room that one of the nodes has listed, with the members that these nodes have told."""
    names: dict[tuple[str, str, str], RoomRow] = {}
    members: Counter[tuple[str, str, str]] = Counter()
    for part in parts:
        for row in part.rooms:
            key = (row.hub.casefold(), row.namespace, row.room)
            names.setdefault(key, row)
            members[key] += row.members
    return [
        RoomRow(hub=row.hub, namespace=row.namespace, room=row.room, members=members[key])
        for key, row in names.items()
    ]


def largest(rows: Iterable[RoomRow], limit: int) -> list[RoomRow]:
    """The largest rooms, the largest first."""
    return sorted(rows, key=lambda row: (-row.members, row.hub, row.namespace, row.room))[:limit]


def history(parts: Iterable[NodeHistory]) -> tuple[list[Point], dict[str, int], dict[str, int]]:
    """Points, disconnects by reason and refusals by reason. A node that has started later adds to the points
    since then."""
    points: dict[float, Point] = {}
    reasons: Counter[str] = Counter()
    refusals: Counter[str] = Counter()
    for part in parts:
        reasons.update(part.reasons)
        refusals.update(part.refusals)
        for point in part.points:
            known = points.get(point.time)
            points[point.time] = point if known is None else _added(known, point)
    return [points[time] for time in sorted(points)], dict(reasons), dict(refusals)


def _added(known: Point, point: Point) -> Point:
    return Point(
        time=known.time,
        connections=known.connections + point.connections,
        connects=known.connects + point.connects,
        disconnects=known.disconnects + point.disconnects,
        messages_in=known.messages_in + point.messages_in,
        messages_out=known.messages_out + point.messages_out,
        bytes_in=known.bytes_in + point.bytes_in,
        bytes_out=known.bytes_out + point.bytes_out,
        cpu=round(known.cpu + point.cpu, 4),
        memory=known.memory + point.memory,
        loop_lag=max(known.loop_lag, point.loop_lag),
        queued_bytes=known.queued_bytes + point.queued_bytes,
    )
