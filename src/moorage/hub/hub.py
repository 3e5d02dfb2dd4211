"""One hub: an isolation space. Its clients, groups, app servers and invokes never meet another's."""

from __future__ import annotations

from moorage.hub.invokes import Invocations
from moorage.hub.links import AppServers
from moorage.hub.rooms import Directory


class Hub:
    """Exists while it has an app server, a client, or somebody who waits for acks."""

    __slots__ = ("directory", "invocations", "name", "servers", "sockets")

    def __init__(self, name: str) -> None:
        self.name = name
        self.directory = Directory()
        self.servers = AppServers()
        self.invocations = Invocations()
        self.sockets = 0
        """Sockets now: connections times the namespaces that each is in."""

    @property
    def is_empty(self) -> bool:
        """Nothing keeps it."""
        return not (self.directory.connections or len(self.servers) or len(self.invocations))
