"""The commands of operators: questions about this node, and its drain."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from moorage.hub.connections.clients import Clients
from moorage.hub.hub import Hub
from moorage.hub.turns import Job
from moorage.wire.commands import DONE, NOT_FOUND, DrainNode, Inspect, Outcome, Report


def _inspect(clients: Clients, _hub: Hub, command: Inspect) -> Outcome | Job[Outcome]:
    if clients.inspections.inspector is None or command.node not in ("", clients.incarnation):
        return NOT_FOUND
    return _inspecting(clients, command)


def _inspecting(clients: Clients, command: Inspect) -> Job[Outcome]:
    assert clients.inspections.inspector is not None
    body = yield from clients.inspections.inspector.inspect(command.what, command.arguments)
    return Outcome(reports=(Report(clients.incarnation, body),)) if body else NOT_FOUND


def _drain(clients: Clients, _hub: Hub, command: DrainNode) -> Outcome:
    if clients.inspections.inspector is None or command.node != clients.incarnation:
        return NOT_FOUND
    clients.inspections.inspector.drain()
    return DONE


HANDLERS: Final[dict[type, Callable[[Clients, Hub, Any], Outcome | Job[Outcome]]]] = {
    Inspect: _inspect,
    DrainNode: _drain,
}
