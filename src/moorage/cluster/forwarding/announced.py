"""The app servers that are linked to this node, as other nodes learn of them: always the complete list."""

from __future__ import annotations

from itertools import count

from moorage.hub.hub import AppServer, Capabilities, Hub
from moorage.hub.node import Node
from moorage.wire.cluster.forwarding import AppServerRow, AppServers


class Announced:
    """Numbers the app servers of `node`, and notices when something about them changes."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._numbers = count(1)
        self._known: dict[AppServer, int] = {}
        self._by_number: dict[int, tuple[Hub, AppServer]] = {}
        self.all = AppServers(())
        """The list, as it was last announced."""

    def get(self, number: int) -> tuple[Hub, AppServer] | None:
        """The app server with this number, and its hub."""
        return self._by_number.get(number)

    def number_of(self, server: AppServer) -> int:
        """The number of an app server; 0 if it has none yet."""
        return self._known.get(server, 0)

    def refresh(self) -> bool:
        """Look at all app servers. True if the list has changed."""
        found = [(hub, server) for hub in self._node.hubs.values() for server in hub.servers.all()]
        self._known = {server: self._known.get(server) or next(self._numbers) for _, server in found}
        self._by_number = {self._known[server]: (hub, server) for hub, server in found}
        before, self.all = self.all, AppServers(tuple([self._row(hub, server) for hub, server in found]))
        return self.all != before

    def _row(self, hub: Hub, server: AppServer) -> AppServerRow:
        return AppServerRow(
            self._known[server],
            hub.name,
            server.id,
            server.instance,
            server.dialect,
            sum(1 << place for place, has in enumerate(server.can) if has),
            server.up,
            server.draining or self._node.draining,
            server.emit_only,
            server.behind,
            server.load,
            server.home,
            server.recovery if server.returns is not None else 0.0,
        )


def capabilities(bits: int) -> Capabilities:
    """The value of `AppServerRow.can`."""
    return Capabilities(*(bool(bits >> place & 1) for place in range(len(Capabilities._fields))))
