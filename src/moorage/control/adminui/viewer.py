"""One Admin UI that is logged in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Final, Protocol

from moorage.control.admin.access.callers import Caller
from moorage.control.admin.access.keys import Role
from moorage.control.adminui import rows
from moorage.control.adminui.changes import Event, New, Upgraded, changes
from moorage.control.adminui.stats import NodeStats, shown
from moorage.control.trace.streams import Traces
from moorage.wire.commands import Found, Selection
from moorage.wire.groups import namespace_group
from moorage.wire.trace.messages import Traced
from moorage.wire.trace.scope import Scope

STATS_SECONDS: Final = 2.0
MAX_SOCKETS: Final = 1_000
"""With more sockets in the hub, the UI gets counts only."""
MAX_NEW: Final = 200
"""New sockets that are looked up in one round. The others appear when the UI is loaded again."""
_READ: Final = ["AGGREGATED_EVENTS"]
_ACTIONS: Final = ["EMIT", "JOIN", "LEAVE", "DISCONNECT", "MJOIN", "MLEAVE", "MDISCONNECT"]

Send = Callable[..., None]
"""Sends an event: its name, and its arguments."""


class Cluster(Protocol):
    """What a viewer asks of the cluster (`control.adminui.server`)."""

    traces: Traces
    payloads: bool
    """The setting `admin.trace_payloads`."""

    def check(self, token: str) -> object:
        """Raises `PeerError` if the session is over."""

    def stats(self, hub: str) -> Awaitable[Mapping[str, NodeStats]]:
        """The figures of all nodes, by their incarnations."""

    def sockets(self, hub: str, to: Selection, namespace: str) -> AsyncIterator[list[Found]]:
        """The selected sockets of a namespace, some at a time."""

    def transports(self, hub: str) -> Awaitable[Mapping[str, str]]:
        """The transports of the hub's connections, by their ids."""

    def now(self) -> float:
        """The time, in seconds since 1970."""


class Viewer:
    """`token` is that of the UI's session. `send` sends it an event."""

    def __init__(self, cluster: Cluster, hub: str, caller: Caller, token: str, send: Send) -> None:
        self.hub = hub
        self.caller = caller
        self._cluster = cluster
        self.token = token
        self._send = send
        self._watch = ""
        self._new: list[New] = []
        self._held: list[Traced] | None = []
        """Events of the trace from before the UI had got all sockets."""
        self._sockets: dict[tuple[str, str], str] = {}
        """The connections of the sockets that the UI knows, by namespace and id."""
        self._totals: dict[str, dict[str, int]] = {}

    async def run(self) -> None:
        """Tell the UI everything until its session is over. Raises `PeerError` then."""
        try:
            stats = await self._cluster.stats(self.hub)
            detailed = sum(sum(node.namespaces.values()) for node in stats.values()) <= MAX_SOCKETS
            features = _READ + ["ALL_EVENTS"] * detailed
            if self.caller.role >= Role.OPERATE:
                features = _ACTIONS + features
            self._send("config", {"supportedFeatures": features})
            if detailed:
                await self._begin(stats)
            while True:
                self._tell(stats)
                await asyncio.sleep(STATS_SECONDS)
                self._cluster.check(self.token)
                await self._look_up()
                stats = await self._cluster.stats(self.hub)
        finally:
            if self._watch:
                self._cluster.traces.close(self._watch)

    async def _begin(self, stats: Mapping[str, NodeStats]) -> None:
        payload = self._cluster.payloads and self.caller.role >= Role.OPERATE
        scope = Scope(hub=self.hub, sample=1.0, payload=payload)
        self._watch = self._cluster.traces.open(scope, self._take)
        transports = await self._cluster.transports(self.hub)
        found = []
        for namespace in sorted({name for node in stats.values() for name in node.namespaces}):
            to = Selection(group=namespace_group(namespace))
            async for some in self._cluster.sockets(self.hub, to, namespace):
                found += [self._row(each, transports.get(each.connection, "")) for each in some]
        self._send("all_sockets", found)
        held, self._held = self._held or [], None
        for traced in held:
            self._take(traced)

    def _take(self, traced: Traced) -> None:
        if self._held is not None:
            self._held.append(traced)
            return
        for change in changes(traced):
            if isinstance(change, Event):
                self._send(change.name, *change.arguments)
                if change.name == "socket_disconnected":
                    self._sockets.pop(change.arguments[:2], None)
            elif isinstance(change, Upgraded):
                self._upgraded(change)
            elif len(self._new) < MAX_NEW:
                self._new.append(change)

    async def _look_up(self) -> None:
        """Fetch the rows of new sockets."""
        new, self._new = self._new, []
        for each in new:
            to = Selection(connection=each.connection)
            async for some in self._cluster.sockets(self.hub, to, each.namespace):
                for found in some:
                    if found.id == each.socket:
                        self._send("socket_connected", self._row(found, each.transport), each.time)

    def _row(self, found: Found, transport: str) -> dict[str, Any]:
        self._sockets[found.namespace, found.id] = found.connection
        return rows.socket(found, transport)

    def _upgraded(self, change: Upgraded) -> None:
        for (namespace, sid), connection in self._sockets.items():
            if connection == change.connection:
                self._send("socket_updated", {"id": sid, "nsp": namespace, "transport": change.transport})

    def _tell(self, stats: Mapping[str, NodeStats]) -> None:
        second = int(self._cluster.now())
        for incarnation, node in stats.items():
            self._send("server_stats", shown(node, self._totals.get(incarnation, {}), second))
        self._totals = {incarnation: node.totals for incarnation, node in stats.items()}
