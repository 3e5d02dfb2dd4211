"""Commands that arrive from other nodes. They are carried out in the order in which a node sent them.

Large commands are done in steps, and what the same node sends meanwhile waits. If too much of it waits, the
rest is dropped, and the loss is told as a gap.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final, Protocol

from moorage import logs
from moorage.cluster.coverage.homes import Instances
from moorage.cluster.sockets import outgoing
from moorage.hub.commands.deliver import deliver_to_one
from moorage.hub.node import Node
from moorage.hub.turns import Intake, Job, Turns
from moorage.wire.cluster.messages import Answer, Envelope, Finished, Packets, Part, Refused, Result, Sockets
from moorage.wire.commands import (
    Command,
    FetchSockets,
    Inspect,
    Invoke,
    JoinGroups,
    Outcome,
    SendToConnection,
    TellServers,
)
from moorage.wire.errors import PeerError
from moorage.wire.reasons import INTERNAL

NOTHING: Final = Outcome(found=False)
"""The answer to a command that the app server has sent to this node itself."""

MAX_WAITING: Final = 16 * 1024 * 1024
"""Maximum bytes of the messages of one node that wait for earlier ones of that node to be carried out."""
OVERHEAD: Final = 500
"""Bytes that a waiting message costs in addition to its own."""

log: Final = logs.get("cluster")


class Send(Protocol):
    """Sends a part of the answer to request `number` of `node`."""

    def __call__(self, node: str, number: int, part: Part, /) -> None: ...


WhenVisible = Callable[[JoinGroups, Outcome, Callable[[Outcome], object]], object]
"""Calls back with the outcome of a join once it is in effect in this node's region."""


class _Waiting(Intake):
    """The messages of one node that are not carried out yet."""

    __slots__ = ("overflowed", "size")

    def __init__(self, turns: Turns) -> None:
        super().__init__(turns)
        self.size = 0
        """Bytes of the messages that wait."""
        self.overflowed = False
        """True from the first message that was dropped until half of what waits is carried out."""

    def takes(self, size: int) -> bool:
        """True if another message of `size` bytes may wait."""
        self.overflowed = self.overflowed and self.size > MAX_WAITING // 2
        return not self.size or (not self.overflowed and self.size + size <= MAX_WAITING)

    def add_waiting(self, job: Job[None], size: int) -> None:
        """Carry out a message of `size` bytes after the others."""
        self.size += size
        self.add(self._counted(job, size))

    def _counted(self, job: Job[None], size: int) -> Job[None]:
        self.size -= size
        yield from job


class Arrivals:
    """Carries out the commands of other nodes on `node`. `lost` is told of a node whose messages are dropped,
    and whether they are the first ones."""

    def __init__(
        self,
        node: Node,
        send: Send,
        instances: Instances,
        when_visible: WhenVisible,
        lost: Callable[[str, bool], object],
    ) -> None:
        self._node = node
        self._send = send
        self._instances = instances
        self._when_visible = when_visible
        self._lost = lost
        self.message_size = 0
        """Bytes of the message that is being taken."""
        self._waiting: dict[str, _Waiting] = {}
        """Unfinished work, by the incarnation of the node that asked for it."""

    def take(self, envelope: Envelope) -> None:
        """Carry out a command now, or behind others of the same node that are not finished."""
        if isinstance(envelope.body, Inspect):
            self._inspect(envelope)
            return
        waiting = self._busy(envelope.origin)
        if waiting is not None:
            self._wait(envelope.origin, waiting, self._later(envelope))
            return
        job = self._carry_out(envelope)
        if job is not None:
            self._begin(envelope.origin, job)

    def _inspect(self, envelope: Envelope) -> None:
        """Answer an operator. Nothing waits for it, because it has no place in the order of commands."""
        job = self._carry_out(envelope)
        if job is not None:
            try:
                self._node.inspections.add(job)
            except PeerError as error:
                self._refuse(envelope, error)

    def take_packets(self, envelope: Envelope) -> None:
        """Deliver packets, behind the commands of the same node that are not finished."""
        self.after(envelope.origin, partial(self._deliver, envelope))

    def _deliver(self, envelope: Envelope) -> None:
        node, body = self._node, envelope.body
        assert isinstance(body, Packets)
        hub = node.hubs.get(body.hub.casefold())
        if hub is None:
            return
        connections = hub.directory.connections
        for connection_id, payload in body.packets:
            connection = connections.get(connection_id)
            try:
                if connection is not None:
                    deliver_to_one(node, connection, payload)
                elif hub.recovery is not None:
                    # Its client may be away, and come back.
                    node.carry_out(SendToConnection(body.hub, connection_id, payload))
            except Exception as error:
                self._refuse(envelope, error)

    def after(self, node: str, call: Callable[[], object]) -> None:
        """Make a call once everything that this node has sent so far is carried out."""
        waiting = self._busy(node)
        if waiting is not None:
            self._wait(node, waiting, _calling(call))
        else:
            call()

    def is_busy(self, node: str) -> bool:
        """True if a message of this node is not carried out yet."""
        return self._busy(node) is not None

    def _busy(self, node: str) -> _Waiting | None:
        waiting = self._waiting.get(node)
        return waiting if waiting is not None and waiting.jobs else None

    def _begin(self, node: str, job: Job[None]) -> None:
        waiting = self._waiting.get(node)
        if waiting is None:
            waiting = self._waiting[node] = _Waiting(self._node.turns)
        waiting.add(job)

    def _wait(self, node: str, waiting: _Waiting, job: Job[None]) -> None:
        size = self.message_size + OVERHEAD
        if waiting.takes(size):
            waiting.add_waiting(job, size)
        else:
            first, waiting.overflowed = not waiting.overflowed, True
            self._lost(node, first)

    def forget(self, node: str) -> None:
        """A node is gone. What it has asked for already is still carried out."""
        self._waiting.pop(node, None)

    def _later(self, envelope: Envelope) -> Job[None]:
        yield from self._carry_out(envelope) or ()

    def _carry_out(self, envelope: Envelope) -> Job[None] | None:
        body = envelope.body
        if envelope.instance and not self._instances.is_new(envelope):
            self._tell(envelope, NOTHING)
            if isinstance(body, Invoke | FetchSockets | TellServers):
                _Answers(self._send, envelope.origin, envelope.request).finish(())
            return None
        assert isinstance(body, Command)
        answers = _Answers(self._send, envelope.origin, envelope.request)
        try:
            outcome = self._node.carry_out(body, answers)
        except Exception as error:
            self._refuse(envelope, error)
            return None
        if not isinstance(outcome, Outcome):
            return self._in_steps(envelope, outcome)
        if outcome.sockets:
            return self._list(envelope, outcome)
        self._tell(envelope, outcome)
        return None

    def _in_steps(self, envelope: Envelope, job: Job[Outcome]) -> Job[None]:
        try:
            outcome = yield from job
        except Exception as error:
            self._refuse(envelope, error)
        else:
            yield from self._list(envelope, outcome)

    def _list(self, envelope: Envelope, outcome: Outcome) -> Job[None]:
        for server, parts in outcome.sockets.items():
            for rows in parts:
                self._send(envelope.origin, envelope.request, Sockets(server, outgoing(rows)))
                yield False
        self._tell(envelope, outcome)

    def _tell(self, envelope: Envelope, outcome: Outcome) -> None:
        if not envelope.request:
            return
        if isinstance(envelope.body, JoinGroups):
            self._when_visible(envelope.body, outcome, partial(self._answer, envelope))
        else:
            self._answer(envelope, outcome)

    def _answer(self, envelope: Envelope, outcome: Outcome) -> None:
        self._send(envelope.origin, envelope.request, Result.of(outcome))

    def _refuse(self, envelope: Envelope, error: Exception) -> None:
        if not isinstance(error, PeerError):
            # A defect of ours. The node that asked must not wait for an answer until the time is up.
            log.error("command of another node failed", command=type(envelope.body).__name__, exc_info=error)
            error = PeerError(INTERNAL)
        if envelope.request:
            self._send(envelope.origin, envelope.request, Refused(error.reason.name, error.detail))


def _calling(call: Callable[[], object]) -> Job[None]:
    call()
    yield False


class _Answers:
    """`hub.ports.Answers` of another node's command; nothing is answered where its number is 0."""

    def __init__(self, send: Send, node: str, number: int) -> None:
        self._send = send
        self._node = node
        self._number = number

    def answer(self, sender: str, payload: Any) -> None:
        """As in the port."""
        if self._number:
            self._send(self._node, self._number, Answer(sender, payload))

    def finish(self, missing: tuple[str, ...]) -> None:
        """As in the port."""
        if self._number:
            self._send(self._node, self._number, Finished(missing))
