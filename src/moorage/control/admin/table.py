"""The operations of the Admin API, and what each does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import msgspec

from moorage.control.admin import actions, answers
from moorage.control.admin.access.keys import Role
from moorage.control.admin.audit import Audit
from moorage.control.admin.operations import Call, Operation, Table
from moorage.control.admin.questions import Questions
from moorage.wire.commands import Command, DrainNode, Outcome
from moorage.wire.errors import PeerError
from moorage.wire.inspect import forms
from moorage.wire.inspect.forms import Question
from moorage.wire.reasons import API_NOT_FOUND

READ, OPERATE = Role.READ, Role.OPERATE
QueryT = TypeVar("QueryT", bound=Question)


class HistoryQuery(Question, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whose figures."""

    node: forms.Name | None = None
    """Name or incarnation of a node; without it all nodes added up."""


class Operations:
    """Handles the operations. `list_nodes` lists the nodes as their heartbeats describe them; `about` is what
    `session` tells of this node."""

    def __init__(
        self,
        questions: Questions,
        audit: Audit,
        list_nodes: Callable[[], Sequence[Any]],
        about: dict[str, Any],
    ) -> None:
        self._questions = questions
        self._audit = audit
        self._list_nodes = list_nodes
        self._about = about

    def table(self) -> Table:
        """All operations."""
        return Table(*self._reads(), *self._acts())

    def _reads(self) -> list[Operation]:
        ask = self._questions
        return [
            _get("session", "Who asks, and which node answers", self._session, answers.SessionInfo),
            _get("nodes", "The nodes of the cluster", self._nodes, answers.Nodes)._replace(access_token=True),
            _get("hubs", "The hubs", lambda _: ask.hubs(), answers.Hubs),
            _get("apps", "The app servers", _query(ask.apps), answers.Apps, forms.AppsQuery),
            _get(
                "connections",
                "A page of the clients' connections",
                _query(ask.connections),
                answers.Connections,
                forms.ConnectionsQuery,
            ),
            Operation(
                "connection",
                "GET",
                "/connections/{id}",
                READ,
                "One connection in full",
                lambda call: ask.connection(call.name),
                forms.ConnectionFull,
            ),
            _get(
                "busiest",
                "The busiest connections",
                _query(ask.busiest),
                answers.Busiest,
                forms.BusiestQuery,
            ),
            _get("rooms", "The largest rooms", _query(ask.rooms), answers.Rooms, forms.RoomsQuery),
            _get(
                "history",
                "Counters over the last 15 minutes",
                lambda call: ask.history(call.query.node),
                answers.History,
                HistoryQuery,
            ),
            _get(
                "disconnects",
                "The latest ends of connections, with their reasons",
                _query(ask.disconnects),
                answers.Disconnects,
                forms.DisconnectsQuery,
            ),
            _get("audit", "What operators did", _query(ask.audit), answers.Actions, forms.AuditQuery),
        ]

    def _acts(self) -> list[Operation]:
        def act(name: str, summary: str, body: type[msgspec.Struct]) -> Operation:
            return Operation(name, "POST", f"/{name}", OPERATE, summary, self._act, answers.Done, body=body)

        emit = act("emit", "Send an event", actions.EmitBody)
        return [
            emit._replace(handle=self._emit, answer=answers.Accepted, status=202),
            act("join", "Put sockets into rooms", actions.JoinBody),
            act("leave", "Take sockets out of rooms", actions.LeaveBody),
            act("disconnect", "Close connections", actions.DisconnectBody),
            Operation(
                "drain",
                "POST",
                "/nodes/{node}/drain",
                OPERATE,
                "Drain a node: it takes no new clients, closes the others at a pace, and ends",
                self._drain,
                answers.Accepted,
                status=202,
            ),
        ]

    # -- reads -----------------------------------------------------------------------------------

    async def _session(self, call: Call) -> answers.SessionInfo:
        caller = call.caller
        return answers.SessionInfo(role=caller.role.shown, expires=caller.expires, **self._about)

    async def _nodes(self, _call: Call) -> answers.Nodes:
        loads, missing = await self._questions.loads()
        rows: list[answers.NodeRow] = []
        for node in self._list_nodes():
            row = msgspec.convert(node, answers.NodeRow, from_attributes=True)
            load = loads.get(row.incarnation)
            rows.append(row if load is None else msgspec.structs.replace(row, **msgspec.to_builtins(load)))
        return answers.Nodes(nodes=rows, missing=missing)

    # -- actions -----------------------------------------------------------------------------------

    async def _act(self, call: Call) -> answers.Done:
        body: actions.Body = call.body
        outcome = await self._audited(call, body.shown, lambda: body.command)
        return answers.Done(connections=outcome.reached, missing=sorted(outcome.missing))

    async def _emit(self, call: Call) -> answers.Accepted:
        body: actions.Body = call.body
        await self._audited(call, body.shown, lambda: body.command)
        return answers.Accepted()

    async def _drain(self, call: Call) -> answers.Accepted:
        await self._audited(call, {"node": call.name}, lambda: DrainNode("", self._questions.node(call.name)))
        return answers.Accepted()

    async def _audited(self, call: Call, target: dict[str, Any], command: Callable[[], Command]) -> Outcome:
        """Carry out an action, and note it whatever becomes of it. Raises `PeerError`."""
        try:
            outcome = await self._questions.do(command())
            if not outcome.found:
                raise PeerError(API_NOT_FOUND)
        except PeerError as error:
            self._audit.note(call.caller, call.operation, target, error.reason.name)
            raise
        self._audit.note(call.caller, call.operation, target, "done")
        return outcome


def _get(
    name: str,
    summary: str,
    handle: Callable[[Call], Awaitable[Any]],
    answer: type[msgspec.Struct],
    query: type[msgspec.Struct] = Question,
) -> Operation:
    return Operation(name, "GET", f"/{name}", READ, summary, handle, answer, query)


def _query(ask: Callable[[QueryT], Awaitable[Any]]) -> Callable[[Call], Awaitable[Any]]:
    return lambda call: ask(call.query)
