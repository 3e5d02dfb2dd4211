"""Sees the emits to watched rooms: once each, however many clients get them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from moorage.hub.commands.execute import Done
from moorage.hub.connections.clients import Clients
from moorage.hub.hub import Hub
from moorage.hub.node import Node
from moorage.hub.ports import Answers
from moorage.hub.trace.rooms import RoomWatches
from moorage.hub.trace.watch import Watch
from moorage.hub.turns import Job
from moorage.wire.commands import Invoke, Outcome, Send

Emitted = Callable[[Hub, bytes, str, int, list[Watch]], None]
"""Takes the hub, the payload, the id of the app server ("" if unknown), the number of recipients on this
node, and the watches of the room."""


class Emits:
    """Carries out emits in the place of the node's own handlers while a room is watched."""

    def __init__(self, node: Node, rooms: RoomWatches, emitted: Emitted) -> None:
        self._node = node
        self._rooms = rooms
        self._emitted = emitted
        self._send = node.handlers[Send]
        self._invoke = node.askers[Invoke]

    def attach(self) -> None:
        """A room is watched."""
        self._node.handlers[Send] = self._sending
        self._node.askers[Invoke] = self._invoking

    def detach(self) -> None:
        """No room is watched any more."""
        self._node.handlers[Send] = self._send
        self._node.askers[Invoke] = self._invoke

    def _sending(self, clients: Clients, hub: Hub, command: Send) -> Done:
        return self._seen(hub, command, self._send(clients, hub, command))

    def _invoking(self, clients: Clients, hub: Hub, command: Invoke, answers: Answers[Any]) -> Done:
        return self._seen(hub, command, self._invoke(clients, hub, command, answers))

    def _seen(self, hub: Hub, command: Send | Invoke, done: Done) -> Done:
        watches = self._rooms.of(hub, command.to)
        if not watches:
            return done
        if isinstance(done, Outcome):
            self._tell(hub, command, done, watches)
            return done
        return self._in_steps(hub, command, done, watches)

    def _in_steps(
        self, hub: Hub, command: Send | Invoke, job: Job[Outcome], watches: list[Watch]
    ) -> Job[Outcome]:
        outcome = yield from job
        self._tell(hub, command, outcome, watches)
        return outcome

    def _tell(self, hub: Hub, command: Send | Invoke, outcome: Outcome, watches: list[Watch]) -> None:
        source = command.source if isinstance(command, Send) else ""
        app_server = next((each.id for each in hub.servers.all() if source and each.instance == source), "")
        self._emitted(hub, command.payload, app_server, outcome.reached, watches)
