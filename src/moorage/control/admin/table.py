"""The operations of the Admin API, and what each does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from moorage.control.admin.actions import DisconnectBody
from moorage.control.admin.answers import Connections, Done, Hubs, Nodes, SessionInfo
from moorage.control.admin.keys import Role
from moorage.control.admin.operations import Call, Operation, Table
from moorage.control.admin.questions import Questions
from moorage.wire.inspect import ConnectionFull, ConnectionsQuery

READ, OPERATE = Role.READ, Role.OPERATE


class Operations:
    """Handles the operations. `list_nodes` lists the nodes as their heartbeats describe them; `about` is what
    `session` tells of this node."""

    def __init__(
        self, questions: Questions, list_nodes: Callable[[], Sequence[Any]], about: dict[str, Any]
    ) -> None:
        self._questions = questions
        self._list_nodes = list_nodes
        self._about = about

    def table(self) -> Table:
        """All operations."""
        return Table(
            Operation("session", "GET", "/session", READ, "Who asks", self._session, SessionInfo),
            Operation(
                "nodes",
                "GET",
                "/nodes",
                READ,
                "The nodes of the cluster",
                self._nodes,
                Nodes,
                access_token=True,
            ),
            Operation("hubs", "GET", "/hubs", READ, "The hubs", self._hubs, Hubs),
            Operation(
                "connections",
                "GET",
                "/connections",
                READ,
                "A page of the clients' connections",
                self._connections,
                Connections,
                ConnectionsQuery,
            ),
            Operation(
                "connection",
                "GET",
                "/connections/{id}",
                READ,
                "One connection in full",
                self._connection,
                ConnectionFull,
            ),
            Operation(
                "disconnect",
                "POST",
                "/disconnect",
                OPERATE,
                "Close connections",
                self._act,
                Done,
                body=DisconnectBody,
            ),
        )

    async def _session(self, call: Call) -> SessionInfo:
        caller = call.caller
        return SessionInfo(role=caller.role.shown, expires=caller.expires, **self._about)

    async def _nodes(self, _call: Call) -> Nodes:
        loads, missing = await self._questions.loads()
        rows: list[dict[str, Any]] = []
        for node in self._list_nodes():
            row = msgspec.to_builtins(node)
            load = loads.get(row["incarnation"])
            rows.append(row if load is None else {**row, **msgspec.to_builtins(load)})
        return Nodes(nodes=rows, missing=missing)

    async def _hubs(self, _call: Call) -> Hubs:
        return await self._questions.hubs()

    async def _connections(self, call: Call) -> Connections:
        return await self._questions.connections(call.query)

    async def _connection(self, call: Call) -> ConnectionFull:
        return await self._questions.connection(call.name)

    async def _act(self, call: Call) -> Done:
        outcome = await self._questions.do(call.body.command)
        return Done(connections=outcome.reached, missing=sorted(outcome.missing))
