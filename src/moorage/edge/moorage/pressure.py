"""The clients of one app server that are not read, because the app server does not take what they sent."""

from __future__ import annotations

from moorage.edge.resuming import Resuming
from moorage.hub.hub import LINK, AppServer, Client
from moorage.hub.node import Node
from moorage.hub.ports import Drained
from moorage.wire.reasons import LINK_OVERFLOW


class Pressure:
    """`at_most`: bytes from held clients that may wait for the app server."""

    def __init__(self, node: Node, app: AppServer, at_most: int) -> None:
        self._node = node
        self._app = app
        self.at_most = at_most
        self.held_bytes = 0
        """Bytes of packets that arrived from clients that are held back."""
        self.drains: dict[Client, Drained] = {}
        """Called when the app server has caught up."""
        self._paused: set[Client] = set()
        self._resuming = Resuming(node.turns, self._read)
        self._all_held = False

    def hold_back(self, connection: Client, size: int) -> None:
        """Stop reading from this client, and from all clients long before clients would have to be closed. A
        burst of large packets from many clients is not a fault of the app server, and answers to its own
        requests do not count against its clients."""
        self._pause(connection)
        self.held_bytes += size
        if self.held_bytes > self.at_most:
            self._node.disconnect(connection, LINK_OVERFLOW, who="service")
        elif self.held_bytes > self.at_most // 2 and not self._all_held:
            self._all_held = True
            for other in (*self._app.clients, *self._app.guests):
                self._pause(other)

    def _pause(self, connection: Client) -> None:
        if connection.hold(LINK):
            self._paused.add(connection)
            self._resuming.forget(connection)

    def forget(self, connection: Client) -> None:
        """The client is gone."""
        self._paused.discard(connection)
        self._resuming.forget(connection)
        self.drains.pop(connection, None)

    def resume(self) -> None:
        """Everything from clients has been sent: read from the held-back clients again."""
        paused, self._paused = self._paused, set()
        self.held_bytes = 0
        self._all_held = False
        self._resuming.add(paused)
        self.let_drain()

    def _read(self, connection: Client) -> None:
        self._node.heartbeats.read_on(connection, self._node.clock())
        connection.release(LINK)

    def let_drain(self) -> None:
        """Call all `drains`."""
        drains, self.drains = self.drains, {}
        for done in drains.values():
            done()
