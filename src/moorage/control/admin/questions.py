"""Asks the nodes of the cluster, and puts their answers together."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final, NamedTuple, TypeVar

import msgspec

from moorage.control.admin.answers import Connections, Hubs
from moorage.wire.commands import Command, Inspect, Outcome
from moorage.wire.errors import PeerError
from moorage.wire.ids import incarnation_of
from moorage.wire.inspect import (
    CONNECTION,
    CONNECTIONS,
    HUBS,
    NODE,
    ConnectionFull,
    ConnectionQuery,
    ConnectionRow,
    ConnectionsQuery,
    HubRow,
    NodeConnections,
    NodeHubs,
    NodeLoad,
    PageOf,
    Question,
)
from moorage.wire.reasons import ADMIN_UNKNOWN_NODE, API_BAD_ARGUMENT, API_NOT_FOUND

Execute = Callable[[Command], Outcome | Awaitable[Outcome]]
"""Carries out a command, at once or later. May raise `PeerError`."""

RowsT = TypeVar("RowsT")

_encode: Final = msgspec.json.Encoder().encode


class Known(NamedTuple):
    """A node of the cluster."""

    incarnation: str
    name: str


class Questions:
    """Asks with `execute`. `nodes` lists all nodes, this one included."""

    def __init__(self, execute: Execute, nodes: Callable[[], Sequence[Known]]) -> None:
        self._execute = execute
        self._nodes = nodes

    async def do(self, command: Command) -> Outcome:
        """Carry out a command. Raises `PeerError`."""
        outcome = self._execute(command)
        return outcome if isinstance(outcome, Outcome) else await outcome

    def node(self, wanted: str) -> str:
        """The incarnation of the node with this incarnation or name. Raises `PeerError` (admin-unknown-node)
        if there is none, or if several have the name."""
        nodes = self._nodes()
        if any(wanted == each.incarnation for each in nodes):
            return wanted
        found = [each.incarnation for each in nodes if each.name == wanted]
        if len(found) == 1:
            return found[0]
        detail = f"{len(found)} nodes have this name; use an incarnation" if found else wanted[:128]
        raise PeerError(ADMIN_UNKNOWN_NODE, detail)

    async def ask(
        self, what: str, question: Question, answer: type[RowsT], node: str = ""
    ) -> tuple[dict[str, RowsT], list[str]]:
        """The answers by the nodes' incarnations, and the names of nodes without one."""
        outcome = await self.do(Inspect("", what, _encode(question), node))
        found = {each.node: msgspec.json.decode(each.body, type=answer) for each in outcome.reports}
        return found, sorted(outcome.missing)

    async def connections(self, query: ConnectionsQuery) -> Connections:
        """One page of all nodes' connections."""
        node = "" if query.node is None else self.node(query.node)
        question = PageOf(query=query, cursor=_cursor(query.cursor))
        parts, missing = await self.ask(CONNECTIONS, question, NodeConnections, node)
        rows, following = merged_page(parts, query.limit)
        return Connections(
            connections=rows,
            next=None if following is None else _shown(following),
            limited=any(part.limited for part in parts.values()),
            missing=missing,
        )

    async def connection(self, connection_id: str) -> ConnectionFull:
        """One connection in full. Raises `PeerError` (api-not-found)."""
        nodes = {each.incarnation for each in self._nodes()}
        node = incarnation_of(connection_id)
        if node not in nodes:
            raise PeerError(API_NOT_FOUND)
        found, missing = await self.ask(CONNECTION, ConnectionQuery(id=connection_id), ConnectionFull, node)
        for row in found.values():
            return row
        raise PeerError(API_NOT_FOUND, f"{missing[0]} does not answer" if missing else "")

    async def hubs(self) -> Hubs:
        """All hubs."""
        parts, missing = await self.ask(HUBS, Question(), NodeHubs)
        return Hubs(hubs=merged_hubs(parts.values()), missing=missing)

    async def loads(self) -> tuple[dict[str, NodeLoad], list[str]]:
        """The load of each node by its incarnation."""
        return await self.ask(NODE, Question(), NodeLoad)


def merged_page(
    parts: dict[str, NodeConnections], limit: int
) -> tuple[list[ConnectionRow], tuple[str, str] | None]:
    """One page of several nodes' pages, and behind which connection the next one begins. Rows are in the
    order of hub, node, and then as their node gives them. So what follows a node's last row of a page is
    unknown, as long as this node has more."""
    rows = [
        (row.hub.casefold(), node, row) for node, part in sorted(parts.items()) for row in part.connections
    ]
    rows.sort(key=lambda entry: entry[:2])
    ends = [
        (part.following[0], node, part.following)
        for node, part in parts.items()
        if part.following is not None
    ]
    following: tuple[str, str] | None = None
    if ends:
        hub, node, following = min(ends, key=lambda end: end[:2])
        rows = [entry for entry in rows if entry[:2] <= (hub, node)]
    if len(rows) > limit:
        rows = rows[:limit]
        following = (rows[-1][0], rows[-1][2].id)
    return [row for _, _, row in rows], following


def merged_hubs(parts: Iterable[NodeHubs]) -> list[HubRow]:
    """The figures of all nodes, added up."""
    found: dict[str, HubRow] = {}
    for part in parts:
        for row in part.hubs:
            known = found.get(row.name.casefold())
            if known is not None:
                row = HubRow(
                    name=known.name,
                    connections=known.connections + row.connections,
                    sockets=known.sockets + row.sockets,
                    rooms=known.rooms + row.rooms,
                    app_servers=known.app_servers + row.app_servers,
                    parked=known.parked + row.parked,
                )
            found[row.name.casefold()] = row
    return [found[name] for name in sorted(found)]


def _shown(cursor: tuple[str, str]) -> str:
    return base64.urlsafe_b64encode(_encode(cursor)).rstrip(b"=").decode()


def _cursor(text: str | None) -> tuple[str, str]:
    if text is None:
        return "", ""
    try:
        data = base64.urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
        return msgspec.json.decode(data, type=tuple[str, str])
    except (ValueError, RecursionError):
        raise PeerError(API_BAD_ARGUMENT, "cursor: not the `next` of a page") from None
