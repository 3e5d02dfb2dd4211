"""Answers the questions of operators about this node."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from moorage.hub.connections.clients import Clients
from moorage.hub.inspect.census import Census
from moorage.hub.inspect.connections import Page
from moorage.hub.inspect.rows import full
from moorage.hub.turns import Job
from moorage.wire.errors import PeerError
from moorage.wire.inspect import (
    CONNECTION,
    CONNECTIONS,
    HUBS,
    ConnectionFull,
    ConnectionQuery,
    HubRow,
    NodeConnections,
    NodeHubs,
    PageOf,
    Question,
    Rows,
)
from moorage.wire.reasons import API_BAD_ARGUMENT

Answer = Callable[[Any], "Rows | Job[Rows] | None"]
"""Answers one kind of question, at once or in steps. None: this node has no answer, and sends no report."""


class Inspector:
    """`hub.ports.Inspector`. `name` is the node's name for people, `drain` makes the node drain."""

    def __init__(self, clients: Clients, census: Census, name: str, drain: Callable[[], object]) -> None:
        self._clients = clients
        self._census = census
        self._name = name
        self.drain = drain
        self._answers: dict[str, tuple[type[Question], Answer]] = {}
        self.add(CONNECTIONS, PageOf, self._connections)
        self.add(CONNECTION, ConnectionQuery, self._connection)
        self.add(HUBS, Question, self._hubs)

    def add(self, what: str, question: type[Question], answer: Answer) -> None:
        """Answer questions of another kind, too."""
        self._answers[what] = (question, answer)

    def inspect(self, what: str, arguments: bytes) -> Job[bytes]:
        """As in the port."""
        known = self._answers.get(what)
        if known is None:
            return b""
        question, answer = known
        try:
            asked = msgspec.json.decode(arguments, type=question)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise PeerError(API_BAD_ARGUMENT, str(error)[:200]) from None
        found = answer(asked)
        rows = found if found is None or isinstance(found, Rows) else (yield from found)
        yield False
        return b"" if rows is None else msgspec.json.encode(rows)

    def _connections(self, asked: PageOf) -> Job[NodeConnections]:
        return Page(self._clients, self._census, self._name, asked.query, asked.cursor).gather()

    def _connection(self, asked: ConnectionQuery) -> ConnectionFull | None:
        for hub in self._clients.hubs.values():
            connection = hub.directory.connections.get(asked.id)
            if connection is not None:
                return full(connection, self._name, self._clients.clock())
        return None

    def _hubs(self, _asked: Question) -> NodeHubs:
        return NodeHubs(hubs=list(self._hub_rows()))

    def _hub_rows(self) -> Iterator[HubRow]:
        for name, hub in self._clients.hubs.items():
            recovery = hub.recovery
            yield HubRow(
                name=hub.name,
                connections=len(hub.directory.connections),
                sockets=self._census.sockets[name],
                rooms=0,
                app_servers=len(hub.servers),
                parked=0 if recovery is None else len(recovery.away),
            )
