"""The latest ends of connections, and refusals, of this node. The oldest are forgotten, so strangers who
connect and are refused cannot use up memory; they have a list of their own, so they cannot push the ends of
others out either."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from heapq import merge
from itertools import islice
from typing import Final, NamedTuple

from moorage.hub.hub import Connection
from moorage.hub.inspect.rows import address_of
from moorage.hub.ports import Who
from moorage.hub.turns import Job
from moorage.wire.errors import PeerError
from moorage.wire.handshake import Handshake
from moorage.wire.inspect.forms import DisconnectRow, DisconnectsQuery, NodeDisconnects
from moorage.wire.reasons import Reason

MAX_ENDS: Final = 5_000
MAX_REFUSALS: Final = 1_000
STEP: Final = 250
"""Entries that are looked at in one step."""
DETAIL: Final = 256
"""Longest text that is kept of a detail."""


class End(NamedTuple):
    """One entry. `time` is that of the hub's clock."""

    time: float
    id: str
    hub: str
    user: str | None
    address: str
    reason: Reason
    who: Who
    detail: str
    age: float = 0.0
    queued: int = 0
    app_server: str = ""


class Endings:
    """`hub.ports.Observer` that remembers. `clock` is the hub's, `wall_clock` gives epoch seconds."""

    def __init__(self, clock: Callable[[], float], wall_clock: Callable[[], float]) -> None:
        self._clock = clock
        self._wall_clock = wall_clock
        self._ends: deque[End] = deque(maxlen=MAX_ENDS)
        self._refusals: deque[End] = deque(maxlen=MAX_REFUSALS)

    def opened(self, connection: Connection, transport: str) -> None:
        """`Observer.opened`: no end."""

    def refused(self, hub: str, handshake: Handshake, error: PeerError) -> None:
        """`Observer.refused`."""
        address, detail = handshake.origin().address, error.detail[:DETAIL]
        who: Who = "app" if error.reason.name.startswith("app-") else "service"
        self._refusals.append(
            End(self._clock(), "", hub[:128], handshake.user_id, address, error.reason, who, detail)
        )

    def joined(self, connection: Connection, namespace: str) -> None:
        """`Observer.joined`: no end."""

    def left(self, connection: Connection, namespace: str) -> None:
        """`Observer.left`: of a socket, not of the connection."""

    def closed(
        self, connection: Connection, reason: Reason, *, who: Who, detail: str, age: float, queued: int
    ) -> None:
        """`Observer.closed`."""
        self._ends.append(
            End(
                self._clock(),
                connection.id,
                connection.hub.name,
                connection.user_id,
                address_of(connection),
                reason,
                who,
                detail[:DETAIL],
                age,
                queued,
                connection.server.id,
            )
        )

    def list(self, query: DisconnectsQuery, node: str) -> Job[NodeDisconnects]:
        """The newest entries that match, first the newest. `node` is the name of this node."""
        offset = self._wall_clock() - self._clock()
        # A copy, because new entries come between two steps. It costs 10 us.
        both = merge(reversed(tuple(self._ends)), reversed(tuple(self._refusals)), key=lambda end: -end.time)
        rows: list[DisconnectRow] = []
        while part := list(islice(both, STEP)):
            for end in part:
                if _matches(query, end):
                    rows.append(_row(end, node, offset))
                    if len(rows) == query.limit:
                        return _answer(rows)
            yield False
        return _answer(rows)


def _answer(rows: list[DisconnectRow]) -> NodeDisconnects:
    return NodeDisconnects(disconnects=rows, times=[row.time for row in rows])


def _matches(query: DisconnectsQuery, end: End) -> bool:
    return (
        (query.user is None or query.user == end.user)
        and (query.connection is None or query.connection == end.id)
        and (query.reason is None or query.reason == end.reason.name)
        and (query.hub is None or query.hub.casefold() == end.hub.casefold())
    )


def _row(end: End, node: str, offset: float) -> DisconnectRow:
    return DisconnectRow(
        time=round(end.time + offset, 3),
        id=end.id,
        opened=bool(end.id),
        hub=end.hub,
        user=end.user,
        node=node,
        address=end.address,
        reason=end.reason.name,
        number=end.reason.number,
        who=end.who,
        detail=end.detail,
        age=round(end.age, 3),
        queued_bytes=end.queued,
        app_server=end.app_server,
    )
