"""The latest ends of connections, and refusals, of this node. The oldest are forgotten, so strangers who
connect and are refused cannot use up memory; they have a list of their own, so they cannot push the ends of
others out either.

An entry is kept as MessagePack: one object instead of five, a third of the memory. It stays for long among
objects of connections that come and go, whose memory can be given back only where nothing stays."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from heapq import merge
from itertools import islice
from typing import Final

import msgspec

from moorage.hub.hub import Connection
from moorage.hub.inspect.rows import address_of
from moorage.hub.observers import Uninterested
from moorage.hub.ports import Who
from moorage.hub.turns import Job
from moorage.wire.errors import PeerError
from moorage.wire.handshake import Handshake
from moorage.wire.inspect.forms import DisconnectRow, DisconnectsQuery, NodeDisconnects
from moorage.wire.reasons import CATALOGUE, Reason

MAX_ENDS: Final = 5_000
MAX_REFUSALS: Final = 1_000
STEP: Final = 250
"""Entries that are looked at in one step."""
DETAIL: Final = 256
"""Longest text that is kept of a detail."""


class End(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """One entry. `time` is that of the hub's clock, `reason` the name of a reason."""

    time: float
    id: str
    hub: str
    user: str | None
    address: str
    reason: str
    who: Who
    detail: str
    age: float = 0.0
    queued: int = 0
    app_server: str = ""


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(End).decode


class Endings(Uninterested):
    """`hub.ports.Observer` that remembers. `clock` is the hub's, `wall_clock` gives epoch seconds."""

    def __init__(self, clock: Callable[[], float], wall_clock: Callable[[], float]) -> None:
        self._clock = clock
        self._wall_clock = wall_clock
        self._ends: deque[bytes] = deque(maxlen=MAX_ENDS)
        self._refusals: deque[bytes] = deque(maxlen=MAX_REFUSALS)

    def refused(self, hub: str, handshake: Handshake, error: PeerError) -> None:
        """`Observer.refused`."""
        address, detail = handshake.origin().address, error.detail[:DETAIL]
        who: Who = "app" if error.reason.name.startswith("app-") else "service"
        self._refusals.append(
            _packed(
                End(self._clock(), "", hub[:128], handshake.user_id, address, error.reason.name, who, detail)
            )
        )

    def closed(
        self, connection: Connection, reason: Reason, *, who: Who, detail: str, age: float, queued: int
    ) -> None:
        """`Observer.closed`."""
        self._ends.append(
            _packed(
                End(
                    self._clock(),
                    connection.id,
                    connection.hub.name,
                    connection.user_id,
                    address_of(connection),
                    reason.name,
                    who,
                    detail[:DETAIL],
                    age,
                    queued,
                    connection.server.id,
                )
            )
        )

    def list(self, query: DisconnectsQuery, node: str) -> Job[NodeDisconnects]:
        """The newest entries that match, first the newest. `node` is the name of this node."""
        offset = self._wall_clock() - self._clock()
        # A copy, because new entries come between two steps. It costs 10 us.
        ends, refusals = [map(_decode, reversed(tuple(some))) for some in (self._ends, self._refusals)]
        both = merge(ends, refusals, key=lambda end: -end.time)
        rows: list[DisconnectRow] = []
        while part := list(islice(both, STEP)):
            for end in part:
                if _matches(query, end):
                    rows.append(_row(end, node, offset))
                    if len(rows) == query.limit:
                        return _answer(rows)
            yield False
        return _answer(rows)


def _packed(end: End) -> bytes:
    try:
        return _encode(end)
    except UnicodeEncodeError:
        # A token may name a user with half of a surrogate pair.
        user = None if end.user is None else _readable(end.user)
        return _encode(
            msgspec.structs.replace(end, user=user, hub=_readable(end.hub), detail=_readable(end.detail))
        )


def _readable(text: str) -> str:
    return text.encode(errors="replace").decode()


def _answer(rows: list[DisconnectRow]) -> NodeDisconnects:
    return NodeDisconnects(disconnects=rows, times=[row.time for row in rows])


def _matches(query: DisconnectsQuery, end: End) -> bool:
    return (
        (query.user is None or query.user == end.user)
        and (query.connection is None or query.connection == end.id)
        and (query.reason is None or query.reason == end.reason)
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
        reason=end.reason,
        number=CATALOGUE[end.reason].number,
        meaning=CATALOGUE[end.reason].text,
        who=end.who,
        detail=end.detail,
        age=round(end.age, 3),
        queued_bytes=end.queued,
        app_server=end.app_server,
    )
