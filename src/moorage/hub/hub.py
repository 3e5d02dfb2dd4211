"""One hub: an isolation space. Its clients, groups, app servers and invokes never meet another's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moorage.hub.invokes import Questions
from moorage.hub.links import AppServer, AppServers
from moorage.hub.ports import Members
from moorage.hub.rooms import Directory

if TYPE_CHECKING:
    from moorage.hub.connection import Connection


class Hub:
    """Exists while it has an app server, a client, or somebody who waits for acks."""

    __slots__ = (
        "directory",
        "invocations",
        "name",
        "queries",
        "questions",
        "servers",
        "websockets",
    )

    def __init__(self, name: str, news: Members | None = None) -> None:
        self.name = name
        self.directory = Directory(news)
        self.servers = AppServers()
        self.invocations: Questions[Connection] = Questions()
        """Emits with acks; a question's number is the ack id."""
        self.queries: Questions[AppServer] = Questions()
        """What app servers know of their sockets. Apart from `questions`: an answer of the wrong kind
        must find nobody who waits for it, since the asker could not read it."""
        self.questions: Questions[AppServer] = Questions()
        """What app servers ask each other."""
        self.websockets = 0
        """How many of the directory's connections are on a WebSocket. The others are on polling."""

    @property
    def is_empty(self) -> bool:
        """Nothing keeps it."""
        return not (self.directory.connections or len(self.servers) or self.waits)

    @property
    def waits(self) -> bool:
        """Somebody waits for answers."""
        return bool(len(self.invocations) or len(self.queries) or len(self.questions))
