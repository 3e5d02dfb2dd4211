"""Asks the nodes of the cluster. A node that does not answer in time is named as missing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NamedTuple, TypeVar, cast

import msgspec

from moorage.control.admin import answers, merging
from moorage.wire.commands import Command, Inspect, Outcome
from moorage.wire.errors import PeerError
from moorage.wire.ids import incarnation_of
from moorage.wire.inspect import forms
from moorage.wire.inspect.forms import Question
from moorage.wire.reasons import ADMIN_NODE_SILENT, ADMIN_UNKNOWN_NODE, API_NOT_FOUND

Execute = Callable[[Command], Outcome | Awaitable[Outcome]]
"""Carries out a command, at once or later. May raise `PeerError`."""
MORE: Final = 50
"""Number of rooms that each node lists in addition to those that were asked for."""

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
        """The answers by the nodes' incarnations, and the names of nodes without one. `node`: the
        incarnation of the only one that is asked."""
        outcome = await self.do(Inspect("", what, _encode(question), node))
        found = {each.node: msgspec.json.decode(each.body, type=answer) for each in outcome.reports}
        missing = set(outcome.missing)
        if not node:
            # A node may be too old to know the question.
            missing |= {each.name for each in self._nodes() if each.incarnation not in found}
        return found, sorted(missing)

    async def connections(self, query: forms.ConnectionsQuery) -> answers.Connections:
        """One page of all nodes' connections."""
        node = "" if query.node is None else self.node(query.node)
        question = forms.PageOf(query=query, cursor=_cursor(query.cursor))
        parts, missing = await self.ask(forms.CONNECTIONS, question, merging.Page, node)
        rows, following = merging.page(parts, query.limit)
        return answers.Connections(
            connections=cast("list[forms.ConnectionRow]", rows),
            next=None if following is None else _shown(following),
            limited=any(part.limited for part in parts.values()),
            missing=missing,
        )

    async def connection(self, connection_id: str) -> msgspec.Raw:
        """One connection, a `ConnectionFull`. Raises `PeerError` (api-not-found, admin-node-silent)."""
        node = incarnation_of(connection_id)
        if not any(each.incarnation == node for each in self._nodes()):
            raise PeerError(API_NOT_FOUND)
        question = forms.ConnectionQuery(id=connection_id)
        found, missing = await self.ask(forms.CONNECTION, question, msgspec.Raw, node)
        for row in found.values():
            return row
        if missing:
            raise PeerError(ADMIN_NODE_SILENT, missing[0])
        raise PeerError(API_NOT_FOUND)

    async def busiest(self, query: forms.BusiestQuery) -> answers.Busiest:
        """The busiest connections."""
        parts, missing = await self.ask(forms.BUSIEST, query, forms.NodeBusiest)
        return answers.Busiest(
            connections=merging.busiest(parts.values(), query.sort, query.limit),
            limited=any(part.limited for part in parts.values()),
            missing=missing,
        )

    async def hubs(self) -> answers.Hubs:
        """All hubs."""
        parts, missing = await self.ask(forms.HUBS, Question(), forms.NodeHubs)
        return answers.Hubs(hubs=merging.hubs(parts.values()), missing=missing)

    async def apps(self, query: forms.AppsQuery) -> answers.Apps:
        """All app servers."""
        parts, missing = await self.ask(forms.APPS, query, forms.NodeApps)
        rows = [row for part in parts.values() for row in part.apps]
        rows.sort(key=lambda row: (row.hub.casefold(), row.id, row.node))
        return answers.Apps(apps=rows, missing=missing)

    async def rooms(self, query: forms.RoomsQuery) -> answers.Rooms:
        """The largest rooms. Each node tells its largest ones; then all are asked for their members of those
        that another node has named."""
        asked = forms.RoomsOf(query=query, more=MORE)
        parts, missing = await self.ask(forms.ROOMS, asked, forms.NodeRooms)
        rows = merging.candidates(parts.values())
        if len(parts) > 1:
            names = [(row.hub, row.namespace, row.room) for row in rows]
            counts, silent = await self.ask(
                forms.ROOM_COUNTS, forms.RoomCounts(rooms=names), forms.NodeCounts
            )
            missing = sorted({*missing, *silent})
            sums = [sum(each) for each in zip(*(part.members for part in counts.values()), strict=True)]
            if sums:
                rows = [msgspec.structs.replace(row, members=n) for row, n in zip(rows, sums, strict=True)]
        return answers.Rooms(
            rooms=merging.largest(rows, query.limit),
            total=sum(part.total for part in parts.values()),
            limited=any(part.limited for part in parts.values()),
            missing=missing,
        )

    async def history(self, node: str | None) -> answers.History:
        """The history of one node, or of all."""
        only = "" if node is None else self.node(node)
        parts, missing = await self.ask(forms.HISTORY, Question(), forms.NodeHistory, only)
        points, reasons, refusals = merging.history(parts.values())
        return answers.History(
            step=forms.HISTORY_STEP, points=points, reasons=reasons, refusals=refusals, missing=missing
        )

    async def disconnects(self, query: forms.DisconnectsQuery) -> answers.Disconnects:
        """The latest ends of connections."""
        parts, missing = await self.ask(forms.DISCONNECTS, query, merging.Ends)
        rows = merging.newest(parts.values(), query.limit)
        return answers.Disconnects(disconnects=cast("list[forms.DisconnectRow]", rows), missing=missing)

    async def audit(self, query: forms.AuditQuery) -> answers.Actions:
        """The latest actions."""
        parts, missing = await self.ask(forms.AUDIT, query, forms.NodeActions)
        rows = sorted((row for part in parts.values() for row in part.actions), key=lambda row: -row.time)
        return answers.Actions(actions=rows[: query.limit], missing=missing)

    async def loads(self) -> tuple[dict[str, forms.NodeLoad], list[str]]:
        """The load of each node by its incarnation."""
        return await self.ask(forms.NODE, Question(), forms.NodeLoad)


def _shown(cursor: merging.Cursor) -> str:
    return "/".join(cursor)


def _cursor(text: str | None) -> merging.Cursor:
    # Neither a hub's name nor an id holds a slash (`forms.CursorText`).
    hub, _, connection_id = (text or "").partition("/")
    return hub.casefold(), connection_id
