"""What each node tells the Admin UI every two seconds."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final

from moorage.hub.hub import Connection
from moorage.hub.node import Node
from moorage.hub.observers import Uninterested
from moorage.hub.ports import Who
from moorage.wire.inspect.forms import Question, Rows
from moorage.wire.reasons import Reason

STATS: Final = "admin-ui"
"""The name of the question between nodes (`wire.commands.Inspect`)."""


class StatsQuery(Question, frozen=True, kw_only=True):
    """The hub that is asked for."""

    hub: str


class NodeStats(Rows, frozen=True, kw_only=True):
    """One node and one of its hubs. `totals` only grow while the node runs."""

    name: str
    hostname: str
    pid: int
    uptime: float
    clients: int
    polling: int
    namespaces: dict[str, int]
    totals: dict[str, int]
    """Numbers of events by type, or by type and subtype with a space in between."""


class Sockets(Uninterested):
    """`hub.ports.Observer` that counts sockets by hub and namespace, and connects and disconnects."""

    def __init__(self) -> None:
        self.counts: dict[str, Counter[str]] = {}
        """By the hub's name in lower case, then by namespace."""
        self.totals: Counter[str] = Counter()

    def opened(self, connection: Connection, transport: str) -> None:
        """`Observer.opened`."""
        self.totals["rawConnection"] += 1

    def joined(self, connection: Connection, namespace: str) -> None:
        """`Observer.joined`."""
        name = connection.hub.key
        counts = self.counts.get(name)
        if counts is None:
            counts = self.counts[name] = Counter()
        counts[namespace] += 1

    def left(self, connection: Connection, namespace: str) -> None:
        """`Observer.left`. Clients choose the names of namespaces, so one without sockets has no entry."""
        name = connection.hub.key
        counts = self.counts[name]
        counts[namespace] -= 1
        if not counts[namespace]:
            del counts[namespace]
            if not counts:
                del self.counts[name]

    def closed(
        self, connection: Connection, reason: Reason, *, who: Who, detail: str, age: float, queued: int
    ) -> None:
        """`Observer.closed`."""
        self.totals[f"rawDisconnection {reason.name}"] += 1


class Stats:
    """Answers for one node. `traffic` gives numbers of packets and bytes by the UI's types."""

    def __init__(
        self,
        node: Node,
        sockets: Sockets,
        traffic: Callable[[], Mapping[str, int]],
        about: Mapping[str, Any],
    ) -> None:
        self._node = node
        self._sockets = sockets
        self._traffic = traffic
        self._about = about
        self._began = node.clock()

    def now(self, query: StatsQuery) -> NodeStats:
        """The figures now."""
        hub = self._node.hub(query.hub)
        clients = 0 if hub is None else len(hub.directory.connections)
        return NodeStats(
            uptime=math.floor(self._node.clock() - self._began),
            clients=clients,
            polling=0 if hub is None else clients - hub.websockets,
            namespaces=dict(self._sockets.counts.get(query.hub.casefold(), {})),
            totals={**self._sockets.totals, **self._traffic()},
            **self._about,
        )


def shown(stats: NodeStats, before: Mapping[str, int], second: int) -> dict[str, Any]:
    """The UI's `server_stats`. `before` are the totals of the last time, `second` is now, since 1970."""
    return {
        "serverId": stats.name,
        "hostname": stats.hostname,
        "pid": stats.pid,
        "uptime": stats.uptime,
        "clientsCount": stats.clients,
        "pollingClientsCount": stats.polling,
        "namespaces": [
            {"name": name, "socketsCount": count} for name, count in sorted(stats.namespaces.items())
        ],
        "aggregatedEvents": [
            _event(kind, total - before[kind], second)
            for kind, total in sorted(stats.totals.items())
            if total > before.get(kind, total)
        ],
    }


def _event(kind: str, count: int, second: int) -> dict[str, Any]:
    name, _, detail = kind.partition(" ")
    event = {"timestamp": second * 1000, "type": name, "count": count}
    return event | {"subType": detail} if detail else event
