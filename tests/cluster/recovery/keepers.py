"""Several nodes that keep journals, one of which is lost."""

from __future__ import annotations

import asyncio

from moorage.cluster.recovery.late import LateEmits
from moorage.cluster.recovery.lost_nodes import StoreError, heir_of
from moorage.wire.commands import Command, Selection, Send
from tests.cluster.nodes import Nodes, NodeWorld
from tests.cluster.recovery.stage import Several
from tests.hub.fakes import HUB
from tests.hub.journal.loss import PagesInMemory
from tests.hub.recovery.stage import ROOT, Returning, Stage

LOST = "node-000"


class Journals:
    """`lost_nodes.Journals` of stores in memory."""

    def __init__(self, stores: dict[str, PagesInMemory]) -> None:
        self._stores = stores
        self.taken: set[str] = set()
        self.works = True

    async def take_over(self, node: str) -> list[bytes] | None:
        if not self.works:
            raise StoreError("no answer")
        if node in self.taken:
            return None
        self.taken.add(node)
        store = self._stores[node]
        store.works = False
        return store.pages

    async def others(self) -> list[str]:
        return list(self._stores)


class Dead(NodeWorld):
    """A node that does nothing any more."""

    scheduled = property(lambda self: 0, lambda self, value: None)
    turns = property(lambda self: 0, lambda self, value: None)
    callbacks = property(lambda self: [], lambda self, value: None)

    def settle(self) -> None: ...


def heir() -> int:
    """The node that goes on with the lost one's sockets, of the two that are left."""
    return int(heir_of(LOST, ("node-001", "node-002"))[-1])


class Keepers(Several):
    """Three nodes with journals. The first one is lost."""

    def __init__(self) -> None:
        self.nodes = Nodes(3, clients=0, app_servers=False, prefix="node-00")
        self.sent = []
        self.stores = {world.incarnation: PagesInMemory() for world in self.nodes.worlds}
        self.journals = journals = Journals(self.stores)
        for world, router in zip(self.nodes.worlds, self.nodes.routers, strict=True):
            self._watch(router)
            world.node.keep(self.stores[world.incarnation], lambda world=world: world.now)  # type: ignore[misc]
            router.recovery.keep(journals)
        self.stages = [Stage(world) for world in self.nodes.worlds]
        self.settle()

    def settle(self) -> None:
        """Everything that is on its way arrives, and is stored."""
        self.nodes.settle()
        while any(store.waiting for store in self.stores.values()):
            for store in self.stores.values():
                store.answer()
            self.nodes.settle()

    def client(self, at: int, *rooms: str) -> Returning:
        """A client of a node."""
        client = super().client(at, *rooms)
        self.settle()
        client.read()
        return client

    def late(self, at: int) -> LateEmits:
        """That part of a node."""
        late = self.nodes.routers[at].recovery.late
        assert late is not None
        return late

    def submit(self, at: int, command: Command) -> None:
        """A request comes to a node."""
        self.nodes.submit(at, command)
        self.settle()

    def emit(self, at: int, number: int, to: Selection = ROOT) -> None:
        """A REST request emits at a node."""
        self.submit(at, Send(HUB, to, b'42["a",%d]' % number))

    def die(self) -> None:
        """The first node gets nothing any more, and nobody knows."""
        for node in ("node-001", "node-002"):
            self.nodes.network.delay(node, LOST)
            self.nodes.network.delay(LOST, node)

    def kill(self) -> None:
        """The first node does nothing any more. What it has sent still arrives."""
        for node in ("node-001", "node-002"):
            self.nodes.network.delay(node, LOST)
        world = self.nodes.worlds[0]
        for name in ("scheduled", "turns", "callbacks"):
            del world.__dict__[name]
        world.__class__ = Dead
        self.stores[LOST].waiting.clear()

    def step(self, *, stores: bool) -> None:
        """One message arrives. `stores`: what is on its way to JetStream arrives with it, and not last."""
        for world in self.nodes.worlds:
            world.settle()
        if not self.nodes.network.step() or stores:
            for store in self.stores.values():
                store.answer()

    def save(self, client: Returning) -> None:
        """The app server sends the data of a socket to the nodes that are left."""
        for stage in self.stages:
            if not isinstance(stage.world, Dead):
                claims, hub = stage.world.node.claims, stage.world.hub()
                claims.save(hub, stage.server, "/", client.sid["/"], b"{}")

    async def read(self) -> None:
        """Journals of lost nodes are read."""
        for _ in range(3):
            await asyncio.sleep(0)
            self.settle()

    async def lose(self, *at: int) -> None:
        """These nodes notice it."""
        for each in at:
            self.nodes.routers[each].remove(LOST)
        await self.read()
        for world in self.nodes.worlds[1:]:
            world.node.keeping.heirs.handed_over(LOST, HUB, "", 0)  # type: ignore[union-attr]
        self.settle()

    def numbers(self, client: Returning, at: int = 2) -> list[int]:
        """The client comes back. What it gets."""
        self.come_back(client, at, answer=False)
        self.settle()
        stage = self.stages[heir()]
        stage.world.node.claims.save(stage.world.hub(), stage.server, "/", client.sid["/"], b"{}")
        self.settle()
        client.answer()
        self.settle()
        client.read()
        return [event[2] for event in client.events]
