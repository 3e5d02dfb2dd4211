"""Several nodes with recovery, joined by a `MemoryNetwork`, and clients that come back anywhere."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any, get_args

from moorage.cluster.coverage.homes import instance_of
from moorage.cluster.router import Router
from moorage.hub.recovery.counts import Counts
from moorage.wire.cluster.messages import Envelope
from moorage.wire.commands import JoinGroups, LeaveGroups, Selection, Send
from moorage.wire.groups import room_group
from moorage.wire.recovery.moving import Moving
from tests.cluster.nodes import Nodes
from tests.hub.fakes import HUB
from tests.hub.recovery.stage import Returning, Stage


class Session:
    """`cluster.coverage.homes.Session` without a link."""

    term = 1

    def marked(self, term: int) -> None: ...

    def settled(self, call: Callable[[], object]) -> None:
        call()

    def uncovered(self) -> None: ...


class App:
    """An app server that covers all nodes. What it emits is on its way to each of them, in order."""

    def __init__(self, nodes: Nodes, name: str) -> None:
        self.name = name
        self.number = 0
        self._nodes = nodes
        self.on_the_way: list[list[tuple[int, Send | JoinGroups | LeaveGroups]]] = [[] for _ in nodes.worlds]
        for router in nodes.routers:
            router.instances.get(instance_of(HUB, name)).begin(Session(), fence=False)

    def emit(self, to: Selection, packet: bytes) -> None:
        self.number += 1
        for queue in self.on_the_way:
            queue.append((self.number, Send(HUB, to, packet, source=self.name, number=self.number)))

    def change(self, sid: str, room: str, *, joined: bool) -> None:
        """A socket joins or leaves a room."""
        self.number += 1
        to, make = Selection(group=room_group("/", sid)), JoinGroups if joined else LeaveGroups
        for queue in self.on_the_way:
            queue.append((self.number, make(HUB, to, (room_group("/", room),))))

    def arrive(self, at: int) -> bool:
        """The oldest of what is on its way to a node arrives there."""
        queue = self.on_the_way[at]
        if not queue:
            return False
        number, command = queue.pop(0)
        self._nodes.routers[at].instances.get(instance_of(HUB, self.name)).number = number
        self._nodes.worlds[at].node.submit(command, lambda about, outcome: None, reach=None)
        return True


class Several:
    """`count` nodes with an app server each, which have recovery."""

    def __init__(self, count: int) -> None:
        self.nodes = Nodes(count, clients=0, app_servers=False, prefix="node-00")
        self.sent: list[tuple[str, str]] = []
        """Sender and kind of each message about a socket that moves."""
        for router in self.nodes.routers:
            self._watch(router)
        self.stages = [Stage(world) for world in self.nodes.worlds]
        self.nodes.settle()

    def _watch(self, router: Router) -> None:
        for kind in get_args(Moving):
            take = router.handlers[kind]

            def noted(envelope: Envelope, take: Callable[[Envelope], object] = take) -> None:
                self.sent.append((envelope.origin, type(envelope.body).__name__))
                take(envelope)

            router.handlers[kind] = noted

    def client(self, at: int, *rooms: str) -> Returning:
        """A client of a node."""
        stage = self.stages[at]
        client = stage.client()
        for room in rooms:
            to = Selection(connection=client.connection.id)
            self.nodes.done(at, JoinGroups(HUB, to, (room_group("/", room),)))
        self.nodes.settle()
        client.read()
        return client

    def come_back(self, client: Returning, at: int, *, answer: bool = True, **more: Any) -> None:
        """A client comes to a node, which may be another one than before."""
        client.stage = self.stages[at]
        client.come_back(answer=False, **more)
        self.nodes.settle()
        if answer:
            client.answer()
            self.nodes.settle()
            client.read()

    def refused(self, at: int) -> dict[str, int]:
        """Causes of refusals at a node."""
        return dict(self.counts(at).refused)

    def counts(self, at: int) -> Counts:
        """What recovery has done at a node."""
        return self.stages[at].world.node.claims.counts

    def tick(self, seconds: float) -> None:
        """Time passes at all nodes."""
        until = self.nodes.worlds[0].now + seconds
        while self.nodes.worlds[0].now < until:
            for world, router in zip(self.nodes.worlds, self.nodes.routers, strict=True):
                world.now += 0.25
                world.node.tick(world.now)
                router.tick(world.now)
            self.nodes.settle()


class Weather:
    """Lets messages between nodes, and what app servers have sent, arrive in a random order."""

    def __init__(self, several: Several, apps: list[App], random: Random) -> None:
        self._nodes = several.nodes
        self._apps = apps
        self._random = random
        names = [world.incarnation for world in self._nodes.worlds]
        self._pairs = [(one, other) for one in names for other in names if one != other]
        self._delayed: set[tuple[str, str]] = set()

    def blow(self, steps: int) -> None:
        """So many things happen."""
        random, network = self._random, self._nodes.network
        for _ in range(steps):
            what = random.random()
            if what < 0.2:
                pair = random.choice(self._pairs)
                if pair in self._delayed:
                    self._delayed.remove(pair)
                    network.release(*pair)
                elif len(self._delayed) < len(self._pairs) - 1:
                    self._delayed.add(pair)
                    network.delay(*pair)
            elif what < 0.5:
                random.choice(self._apps).arrive(random.randrange(len(self._nodes.worlds)))
            elif what < 0.75:
                network.step()
            elif what < 0.8:
                self._tick()
            else:
                random.choice(self._nodes.worlds).settle()

    def calm(self) -> None:
        """All that is on its way arrives."""
        for pair in self._delayed:
            self._nodes.network.release(*pair)
        self._delayed.clear()
        for app in self._apps:
            for at in range(len(self._nodes.worlds)):
                while app.arrive(at):
                    pass
        for _ in range(3):
            self._nodes.settle()
            self._tick()
        self._nodes.settle()

    def _tick(self) -> None:
        for world, router in zip(self._nodes.worlds, self._nodes.routers, strict=True):
            router.tick(world.now)
