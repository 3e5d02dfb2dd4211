"""The busiest connections of this node.

Nothing but the counters of each connection is kept on the way of packets. A question looks at all of them, in
steps, and compares them with those that it found the last time. Callers that ask the same within a second
share one answer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from heapq import nlargest
from typing import Final

from moorage.hub.connections.clients import Clients
from moorage.hub.hub import Connection
from moorage.hub.inspect.census import Census
from moorage.hub.inspect.rows import row
from moorage.hub.turns import Job
from moorage.wire.inspect.forms import BusiestQuery, BusyRow, NodeBusiest

STEP: Final = 250
"""Connections that are looked at in one step."""
ROWS: Final = 50
"""Rows that are made in one step."""
MAX_LOOKED: Final = 50_000
"""Most connections that one question looks at."""
KEPT_SECONDS: Final = 1.0
"""How long an answer is kept for others with the same question. No rate is measured over less time."""
FORGOTTEN_SECONDS: Final = 60.0
"""The counters found are forgotten when nobody has asked for so long."""
MAX_KEPT: Final = 8

Counts = dict[str, tuple[int, int]]
"""Packets from and to each connection so far, by its id."""
Rates = tuple[float, float]
"""Packets per second from and to the client."""
_BUSY: Final[dict[str, Callable[[Connection, Rates], float]]] = {
    "messages": lambda _, rates: rates[0] + rates[1],
    "in": lambda _, rates: rates[0],
    "out": lambda _, rates: rates[1],
    "queued": lambda connection, _: connection.outbox.size,
}


class Busiest:
    """Answers the question. Call `tick` now and then."""

    def __init__(self, clients: Clients, census: Census, name: str) -> None:
        self._clients = clients
        self._census = census
        self._name = name
        self._counted: deque[tuple[float, Counts]] = deque(maxlen=2)
        """What the last searches found, at least `KEPT_SECONDS` apart, with their times."""
        self._asked = 0.0
        self._kept: dict[tuple[str, str, int], tuple[float, NodeBusiest]] = {}

    def tick(self, now: float) -> None:
        """Forget the counters if nobody asks any more."""
        if now - self._asked > FORGOTTEN_SECONDS:
            self._counted.clear()
            self._kept.clear()

    def gather(self, query: BusiestQuery) -> Job[NodeBusiest]:
        """The busiest connections, the busiest first."""
        self.tick(self._clients.clock())
        self._asked = now = self._clients.clock()
        asked = ((query.hub or "").casefold(), query.sort, query.limit)
        kept = self._kept.get(asked)
        if kept is not None and now - kept[0] < KEPT_SECONDS:
            return kept[1]
        found, limited = yield from self._search(asked, now)
        rows: list[BusyRow] = []
        for start in range(0, len(found), ROWS):
            yield False
            rows += [self._row(*each) for each in found[start : start + ROWS] if _is_there(each[0])]
        answer = NodeBusiest(connections=rows, limited=limited)
        if len(self._kept) >= MAX_KEPT:
            del self._kept[next(iter(self._kept))]
        self._kept[asked] = (self._clients.clock(), answer)
        return answer

    def _search(
        self, asked: tuple[str, str, int], now: float
    ) -> Job[tuple[list[tuple[Connection, Rates]], bool]]:
        hub, sort, limit = asked
        busy = _BUSY[sort]
        since, before = next(
            (each for each in reversed(self._counted) if now - each[0] >= KEPT_SECONDS), (now, {})
        )
        counted: Counts = {}
        best: list[tuple[Connection, Rates]] = []
        looked = 0
        for name in sorted(self._census.hubs):
            roster, after = self._census.hubs.get(name), ""
            while roster is not None and looked < MAX_LOOKED and (batch := roster.batch(after, STEP)):
                looked += len(batch)
                after = batch[-1][0]
                some = []
                for id, connection in batch:
                    counts = counted[id] = connection.session.received, connection.outbox.sent
                    if not hub or name == hub:
                        some.append((connection, _rates(connection, counts, before.get(id), since, now)))
                best = nlargest(limit, best + some, key=lambda each: busy(*each))
                yield False
        if not self._counted or now - self._counted[-1][0] >= KEPT_SECONDS:
            self._counted.append((now, counted))
        return best, looked >= MAX_LOOKED

    def _row(self, connection: Connection, rates: Rates) -> BusyRow:
        short = row(connection, self._name, self._clients.clock())
        fields = {name: getattr(short, name) for name in short.__struct_fields__}
        return BusyRow(**fields, rate_in=round(rates[0], 2), rate_out=round(rates[1], 2))


def _is_there(connection: Connection) -> bool:
    return connection.id in connection.hub.directory.connections


def _rates(
    connection: Connection, counts: tuple[int, int], before: tuple[int, int] | None, since: float, now: float
) -> Rates:
    """Packets per second since an earlier search. If that did not find it: since the connection began."""
    if before is None:
        before, since = (0, 0), min(connection.opened_at, now - KEPT_SECONDS)
    passed = now - since
    return (counts[0] - before[0]) / passed, (counts[1] - before[1]) / passed
