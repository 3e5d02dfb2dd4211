"""A command of this node that waits for other nodes: their outcomes become one, their answers one stream."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any

from msgspec.structs import replace

from moorage.hub.ports import Answers, Reply
from moorage.wire.commands import Ask, Found, ListGroup, Outcome, Write, merged


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
