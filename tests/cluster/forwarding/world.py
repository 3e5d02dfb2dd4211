"""Nodes of which only one has an app server. Its clients are clients of the other nodes."""

from __future__ import annotations

from moorage.hub.hub import NO_PEER, Connection, Guest
from moorage.wire.handshake import OpenInfo
from moorage.wire.reasons import Reason
from tests.cluster.nodes import Nodes
from tests.hub.fakes import HUB, RecordingOpening, RecordingPeer, RecordingSink, heard, sink_of


class Forwarded:
    """Nodes of which only the first has an app server, and clients of the others."""

    def __init__(self, count: int = 2, *, full: bool = True) -> None:
        self.nodes = Nodes(count, 0, prefix="node-no", app_servers=False)
        self.host, *self.owners = self.nodes.worlds
        self.peer = RecordingPeer()
        self.app, self.link = self.host.server("s", peer=self.peer if full else NO_PEER)
        self.app_hub = self.host.node.ensure_hub(HUB)
        self.terms = OpenInfo()
        self._sinks: dict[str, RecordingSink] = {}
        self.nodes.later(0.25)
        self.nodes.settle()

    def client(self, owner: int = 0) -> Connection:
        """A client of a node without an app server, with a socket in `/`."""
        world = self.owners[owner]
        opening = RecordingOpening()
        connection = world.open(opening)
        self.nodes.settle()
        assert [found for found, _ in opening.accepts] == [connection]
        world.node.receive(connection, b"40")
        self.nodes.settle()
        assert self.link.packets(connection) == [b"40"]
        self.send(connection, f'40{{"sid":"{connection.id}/"}}'.encode())
        assert heard(connection) == [f'40{{"sid":"{connection.id}/"}}'.encode()]
        self._sinks[connection.id] = sink_of(connection)
        sink_of(connection).writes.clear()
        return connection

    def closed(self, connection: Connection) -> list[Reason]:
        """Why the client's transport was closed."""
        return [reason for reason, _ in self._sinks[connection.id].closed]

    def guest(self, connection: Connection) -> Guest:
        """The client, as its app server's node knows it."""
        guest = self.host.node.guests.get(connection.id)
        assert guest is not None
        return guest

    def send(self, connection: Connection, payload: bytes) -> None:
        """The app server sends a packet to the client."""
        guest = self.host.node.guests.get(connection.id)
        assert guest is not None
        guest.owner.send(guest, payload)
        self.nodes.settle()
