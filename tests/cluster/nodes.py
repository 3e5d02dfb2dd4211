"""Several nodes in one process, joined by a `MemoryNetwork`. Time and messages move only on demand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from moorage.cluster.memory import MemoryNetwork
from moorage.cluster.router import Router
from moorage.cluster.sockets import outgoing
from moorage.hub.hub import Connection
from moorage.hub.ports import Answers
from moorage.wire.commands import Command, Found, Outcome
from tests.hub.fakes import RecordingAnswers, RecordingPeer, World, heard, sink_of


class NodeWorld(World):
    """One of the nodes. Its connection ids begin with its incarnation."""

    @property
    def incarnation(self) -> str:
        """Identifies the node."""
        return self.node.incarnation

    @incarnation.setter
    def incarnation(self, incarnation: str) -> None:
        self.node.incarnation = incarnation

    def _new_id(self) -> str:
        return f"{self.incarnation}-{super()._new_id()}"

    def settle(self) -> None:
        while self.scheduled or self.turns or self.callbacks:
            callbacks, self.callbacks = self.callbacks, []
            for callback in callbacks:
                callback()
            self.tick()


class Reply:
    """What came back for one command."""

    def __init__(self) -> None:
        self.all: list[Outcome | Exception] = []

    def __call__(self, about: Any, outcome: Outcome | Exception, /) -> None:
        assert about is self
        self.all.append(outcome)

    @property
    def outcome(self) -> Outcome:
        """The one outcome, which must be there."""
        (found,) = self.all
        assert isinstance(found, Outcome), found
        return found


class Nodes:
    """So many nodes, each with one app server and with `clients` clients in the namespace `/`. `regions` has
    the region of each; without it they are all in one."""

    def __init__(
        self,
        count: int,
        clients: int = 1,
        prefix: str = "n",
        *,
        app_servers: bool = True,
        regions: Sequence[str] = (),
    ) -> None:
        self.network = MemoryNetwork()
        self.worlds: list[NodeWorld] = []
        self.routers: list[Router] = []
        self.peers: list[RecordingPeer] = []
        """What each node's app server hears of others."""
        names = [f"{prefix}{number}" for number in range(count)]
        for at, name in enumerate(names):
            world = NodeWorld()
            world.incarnation = name
            router = Router(world.node, self.network.broker(name), name)
            router.start()
            for number, other in enumerate(names):
                if other != name:
                    near = not regions or regions[number] == regions[at]
                    router.add(other, f"node {number}", near=near)
            if app_servers:
                self.peers.append(RecordingPeer())
                world.server(f"s{at}", peer=self.peers[-1])
            self.worlds.append(world)
            self.routers.append(router)
        self.clients = [
            [world.client("/", user_id=f"u{at}") for _ in range(clients)]
            for at, world in enumerate(self.worlds)
        ]
        self.settle()
        for client in self.everyone:
            sink_of(client).writes.clear()

    @property
    def everyone(self) -> list[Connection]:
        """All clients of all nodes."""
        return [client for clients in self.clients for client in clients]

    def submit(self, at: int, command: Command, answers: Answers[Any] | None = None) -> Reply:
        """Submit a command to node `at`. Nothing has moved between the nodes yet."""
        reply = Reply()
        job = self.worlds[at].node.submit(command, reply, reply, answers)
        for _ in job or ():
            pass
        return reply

    def ask(self, at: int, command: Command) -> tuple[Reply, RecordingAnswers]:
        """Submit a command that many answer."""
        answers = RecordingAnswers()
        return self.submit(at, command, answers), answers

    def done(self, at: int, command: Command) -> Outcome:
        """Submit a command, and let everything arrive."""
        reply = self.submit(at, command)
        self.settle()
        return reply.outcome

    def settle(self) -> None:
        """Let all messages arrive that are not delayed, and all work be done."""
        while (
            any(world.scheduled or world.turns or world.callbacks for world in self.worlds)
            or self.network.step()
        ):
            for world in self.worlds:
                world.settle()

    def later(self, seconds: float) -> None:
        """Time passes everywhere, in steps as in a running service."""
        while seconds > 0:
            step = min(seconds, 0.5)
            seconds -= step
            for world, router in zip(self.worlds, self.routers, strict=True):
                world.now += step
                world.node.tick(world.now)
                router.tick(world.now)

    def heard(self) -> dict[str, list[bytes]]:
        """Packets by the id of the client that got some."""
        return {client.id: packets for client in self.everyone if (packets := heard(client))}


def rows_of(sockets: Mapping[str, Iterable[list[Found]]]) -> dict[str, list[tuple[Any, ...]]]:
    """The rows of an outcome by app server: id, connection, user, opened, rooms, handshake."""
    return {
        server: [
            (row.id, row.connection, row.user, row.opened, row.rooms, row.handshake)
            for part in parts
            for row in outgoing(part)
        ]
        for server, parts in sockets.items()
    }
