"""One hub: an isolation space. Nothing in it ever reaches the clients or app servers of another hub."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moorage.hub.invokes import Questions
from moorage.hub.links import AppServer, AppServers
from moorage.hub.ports import Members
from moorage.hub.rooms import Directory

if TYPE_CHECKING:
    from moorage.hub.connection import Connection


class Hub:
    """It exists while it has an app server, a client, or an open question."""

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
        """Emits with acks. The number of a question is the ack id."""
        self.queries: Questions[AppServer] = Questions()
        """Questions about the data that app servers keep of their sockets. Apart from `questions`, so
        that an answer of the wrong kind matches no question: its asker could not read it."""
        self.questions: Questions[AppServer] = Questions()
        """Server-side emits with acks."""
        self.websockets = 0
        """How many of the directory's connections are on a WebSocket. The others are on polling."""

    @property
    def is_empty(self) -> bool:
        """True if the hub may be deleted."""
        return not (self.directory.connections or len(self.servers) or self.waits)

    @property
    def waits(self) -> bool:
        """True if a question is open."""
        return bool(len(self.invocations) or len(self.queries) or len(self.questions))
