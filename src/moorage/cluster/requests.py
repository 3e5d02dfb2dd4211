"""Commands of this node that wait for other nodes: their outcomes become one, their answers one stream."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any, Final

from msgspec.structs import replace

from moorage.cluster.sockets import incoming
from moorage.hub.node import Node
from moorage.hub.ports import Answers, Reply
from moorage.wire.cluster import messages
from moorage.wire.commands import (
    Ask,
    FetchSockets,
    Found,
    Inspect,
    Invoke,
    ListGroup,
    Outcome,
    TellServers,
    Write,
    merged,
)
from moorage.wire.errors import PeerError
from moorage.wire.reasons import CATALOGUE, INTERNAL

WAIT: Final = 5.0
"""Seconds to wait for other nodes, for commands that have no timeout of their own."""
GRACE: Final = 1.0
"""Seconds added to a timeout: the command needs time to get to another node, and what that node sends when
its own time is up needs time to get here."""
OWN_WORK: Final = 60.0
"""Seconds after the deadline until this node's own part is given up too. It ends by itself, unless the link
that asked was lost, and its jobs with it."""


class Request:
    """Calls `reply` once, when each of `nodes` has told its outcome or was given up. If the command asks
    clients or app servers, it then calls `answers.finish`, once these have answered or were given up."""

    def __init__(
        self,
        number: int,
        command: Write | Ask,
        *,
        nodes: Iterable[str],
        deadline: float,
        reply: Reply,
        about: Any,
        answers: Answers[Any] | None,
    ) -> None:
        self.number = number
        self.command = command
        self.deadline = deadline
        self.over: Callable[[], object] = lambda: None
        """Called when nothing of it is awaited any more."""
        self._reply: Reply | None = reply
        self._about = about
        self._answers = answers
        self._owing = set(nodes)
        """Nodes that have not told their outcome."""
        self._asking = set(self._owing) if answers is not None else set()
        """Nodes where clients or app servers may still answer."""
        self._outcomes: list[Outcome] = []
        self._rows: dict[str, dict[str, list[list[Found]]]] = {}
        """Sockets by node and app server, of nodes that have not told their outcome."""
        self._error: Exception | None = None
        self._missing: list[str] = []
        """Names of app servers, sockets and nodes that should have answered and did not."""

    @property
    def has_answers(self) -> bool:
        """True if clients or app servers may still answer, and the caller takes their answers."""
        return self._answers is not None

    @property
    def is_over(self) -> bool:
        """True if nothing of it is awaited any more."""
        return not self._owing and not self._asking

    def outcome(self, node: str, outcome: Outcome | Exception) -> None:
        """A node has carried the command out, or refused it."""
        if node in self._owing:
            self._owing.discard(node)
            if isinstance(outcome, Outcome):
                rows = self._rows.pop(node, None)
                self._outcomes.append(outcome if rows is None else replace(outcome, sockets=rows))
            else:
                self._error = self._error or outcome
            self._go_on()

    def rows(self, node: str, server: str, rows: list[Found]) -> None:
        """Some sockets on a node that an app server serves. They come before the outcome."""
        if node in self._owing:
            self._rows.setdefault(node, {}).setdefault(server, []).append(rows)

    def answer(self, node: str, sender: str, payload: object) -> None:
        """A client or an app server on a node has answered."""
        if node in self._asking and self._answers is not None:
            self._answers.answer(sender, payload)

    def finished(self, node: str, missing: tuple[str, ...]) -> None:
        """All who were asked on a node have answered, except `missing`."""
        if node in self._asking:
            self._asking.discard(node)
            self._missing += missing
            self._go_on()

    def give_up(self, nodes: Collection[tuple[str, str]]) -> None:
        """These nodes (incarnation and name) will not answer any more."""
        silent = [name for node, name in nodes if node in self._owing]
        self._missing += [name for node, name in nodes if node in self._owing or node in self._asking]
        if silent:
            self._outcomes.append(Outcome(found=False, missing=tuple(silent)))
        for node, _ in nodes:
            self._owing.discard(node)
            self._asking.discard(node)
        self._go_on()

    def _go_on(self) -> None:
        if self._owing:
            return
        reply, self._reply = self._reply, None
        if reply is not None:
            if self._error is not None:
                self._asking.clear()
                self._answers = None
                reply(self._about, self._error)
                return
            limit = self.command.limit if isinstance(self.command, ListGroup) else 0
            reply(self._about, merged(self._outcomes, limit))
        answers = self._answers
        if not self._asking and answers is not None:
            self._answers = None
            answers.finish(tuple(self._missing))


class Requests:
    """The open requests of one node. `own` is this node's incarnation. `peers` has the names of the other
    nodes by their incarnations, and changes while nodes come and go."""

    def __init__(self, node: Node, own: str, peers: dict[str, str]) -> None:
        self._node = node
        self._own = own
        self._peers = peers
        self._open: dict[int, Request] = {}
        self._last_number = 0

    def begin(
        self,
        command: Write | Ask,
        reply: Reply,
        about: Any,
        answers: Answers[Any] | None,
        asked: Collection[str],
        send: Callable[[int], object],
    ) -> Request:
        """A request to this node and to the nodes `asked`. `send` sends the command; its argument is the
        request's number."""
        # First, because a command that cannot be sent must leave no request behind.
        self._last_number += 1
        send(self._last_number)
        seconds = self._node.invoke_timeout
        if not isinstance(command, Invoke | FetchSockets | TellServers | Inspect):
            seconds = WAIT
        elif command.timeout is not None:
            seconds = min(seconds, command.timeout)
        request = self._open[self._last_number] = Request(
            self._last_number,
            command,
            nodes=(self._own, *asked),
            deadline=self._node.clock() + seconds + GRACE,
            reply=reply,
            about=about,
            answers=answers,
        )
        return request

    def own_outcome(self, request: Request, outcome: Outcome | Exception) -> None:
        """This node has carried the command out, or refused it."""
        request.outcome(self._own, outcome)
        self.forget_if_over(request)

    def own_answers(self, request: Request) -> Answers[Any] | None:
        """The port for the answers to this node's own part; None if the caller takes no answers."""
        return _OwnAnswers(self, request, self._own) if request.has_answers else None

    def take(self, number: int, node: str, part: messages.Part) -> None:
        """Another node has sent a part of its answer."""
        request = self._open.get(number)
        if request is not None:
            self._gather(request, node, part)
            self.forget_if_over(request)

    def _gather(self, request: Request, node: str, part: messages.Part) -> None:
        if isinstance(part, messages.Answer):
            # An ack is bytes, and data of sockets is not. The asker could not read the other kind.
            if isinstance(part.payload, bytes) != isinstance(request.command, FetchSockets):
                request.answer(node, part.sender, part.payload)
        elif isinstance(part, messages.Finished):
            request.finished(node, part.missing)
        elif isinstance(part, messages.Sockets):
            if isinstance(request.command, FetchSockets):
                request.rows(node, part.server, incoming(request.command.namespace, part.rows))
        elif isinstance(part, messages.Refused):
            request.outcome(node, PeerError(CATALOGUE.get(part.reason, INTERNAL), part.detail))
        else:
            request.outcome(node, part.outcome())

    def remove(self, node: str, name: str) -> None:
        """A node is gone. No request waits for it any more."""
        for request in tuple(self._open.values()):
            request.give_up([(node, name)])
            self.forget_if_over(request)

    def tick(self, now: float) -> None:
        """Requests past their deadline end without the nodes that have not answered."""
        for request in tuple(self._open.values()):
            if request.deadline <= now:
                dropped = request.deadline + OWN_WORK <= now
                request.give_up((*self._peers.items(), *([(self._own, self._own)] if dropped else ())))
                self.forget_if_over(request)

    def forget_if_over(self, request: Request) -> None:
        """Drop the request once nothing of it is awaited."""
        if request.is_over and self._open.pop(request.number, None) is not None:
            request.over()


class _OwnAnswers:
    """`hub.ports.Answers` of this node's part of a request."""

    def __init__(self, requests: Requests, request: Request, own: str) -> None:
        self._requests = requests
        self._request = request
        self._own = own

    def answer(self, sender: str, payload: object) -> None:
        """As in the port."""
        self._request.answer(self._own, sender, payload)

    def finish(self, missing: tuple[str, ...]) -> None:
        """As in the port."""
        self._request.finished(self._own, missing)
        self._requests.forget_if_over(self._request)
