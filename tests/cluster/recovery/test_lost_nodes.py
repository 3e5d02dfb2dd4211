"""Which node goes on with the sockets of a lost one."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from moorage.cluster.recovery.lost_nodes import LostNodes, StoreError, heir_of
from moorage.hub.journal.heirs import HAND_OVER_SECONDS
from moorage.hub.journal.journal import AGAIN
from moorage.wire.cluster.messages import Alive
from tests.cluster.recovery.keepers import LOST, Keepers
from tests.cluster.recovery.keepers import heir as heir_of_lost
from tests.hub.fakes import HUB
from tests.hub.journal.loss import INSTANCE, Keeper
from tests.hub.recovery.stage import ROOT


class Journals:
    """Those of lost nodes."""

    def __init__(self) -> None:
        self.pages: dict[str, list[bytes]] = {}
        self.fails = False

    async def take_over(self, node: str) -> list[bytes] | None:
        if self.fails:
            raise StoreError("gone")
        return self.pages.pop(node, None)

    async def others(self) -> list[str]:
        if self.fails:
            raise StoreError("gone")
        return list(self.pages)


class Heir(Keeper):
    """A node that hears of lost ones."""

    def __init__(self, *peers: str) -> None:
        super().__init__()
        self.journals = Journals()
        self.peers = set(peers)
        turns = self.world.node.turns
        self.lost = LostNodes(self.journals, self.heirs, turns, "own", lambda: self.peers)

    async def read(self) -> None:
        """Until what is on its way has been read."""
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        self.world.settle()


def test_all_nodes_choose_alike() -> None:
    nodes = [f"node-{number}" for number in range(5)]
    chosen = Counter(heir_of(f"lost-{number}", nodes) for number in range(500))
    assert set(chosen) == set(nodes)
    assert min(chosen.values()) > 50
    assert all(heir_of("lost", nodes) == heir_of("lost", reversed(nodes)) for _ in range(3))


async def test_the_heir_reads_the_journal() -> None:
    lost, heir = Keeper(), Heir()
    client = lost.client()
    lost.emit(ROOT, b'42["a",1]')
    heir.journals.pages["lost"] = lost.pages
    heir.lost.remove("lost")
    assert heir.heirs.is_reading("lost")
    await heir.read()
    heir.heirs.handed_over("lost", HUB, INSTANCE, 1)
    client.stage = heir
    client.save(b"")
    client.come_back()
    assert [event[2] for event in client.events] == [1]


async def test_another_node_is_the_heir() -> None:
    heir = Heir("peer")
    names = [f"lost-{number}" for number in range(99)]
    lost = next(name for name in names if heir_of(name, ("own", "peer")) == "peer")
    called: list[str] = []
    heir.heirs.once_known(lost, lambda: called.append("known"))
    heir.lost.remove(lost)
    assert called == ["known"]
    assert not heir.heirs.waits(lost)
    assert heir.heirs.is_alive("peer")


async def test_another_node_was_faster() -> None:
    heir = Heir()
    heir.lost.remove("lost")
    await heir.read()
    assert (heir.heirs.waits("lost"), heir.heirs.was_unread("lost")) == (False, False)


@pytest.mark.parametrize("bad", [b"\xc1", b"\x94\x01\xca\x00\x00\x00\x00\xca\x00\x00\x00\x00\x91\x91\x63"])
async def test_pages_that_cannot_be_read(bad: bytes) -> None:
    heir = Heir()
    heir.journals.pages["lost"] = [bad]
    heir.lost.remove("lost")
    await heir.read()
    assert heir.heirs.was_unread("lost")


@pytest.mark.parametrize("again", [False, True])
async def test_a_node_that_could_not_store_anything(again: bool) -> None:
    """What its clients got since is in no journal. `again`: it stores again."""
    lost, heir = Keeper(), Heir()
    lost.client()
    heir.journals.pages["lost"] = lost.pages
    heir.lost.heard("lost", unstored=True)
    if again:
        heir.lost.heard("lost", unstored=False)
    heir.lost.remove("lost")
    await heir.read()
    assert heir.heirs.was_unread("lost") is not again
    assert heir.heirs.waits("lost") is again


async def test_a_restart_after_a_time_without_the_store() -> None:
    """What is stored is not used, and not at the next restart either."""
    lost, heir = Keeper(), Heir()
    lost.client()
    heir.journals.pages = {"a": lost.pages}
    assert await heir.lost.restart(complete=False) == ["a"]
    assert heir.heirs.was_unread("a")
    assert await heir.lost.restart() == []


async def test_a_store_that_is_gone() -> None:
    heir = Heir()
    heir.journals.fails = True
    heir.lost.remove("lost")
    await heir.read()
    assert heir.heirs.was_unread("lost")
    assert await heir.lost.restart() == []


async def test_a_restart() -> None:
    lost, heir = Keeper(), Heir()
    lost.client()
    heir.journals.pages = {"a": lost.pages, "b": []}
    assert await heir.lost.restart() == ["a", "b"]
    assert heir.heirs.waits("a")


async def test_an_app_server_that_does_not_hand_over(caplog: pytest.LogCaptureFixture) -> None:
    """Such as one that has no session at the heir, in a cluster with more nodes than it covers."""
    lost, heir = Keeper(), Heir()
    lost.client()
    heir.journals.pages["lost"] = lost.pages
    heir.lost.remove("lost")
    await heir.read()
    heir.tick(HAND_OVER_SECONDS + 0.1)
    assert not heir.heirs.waits("lost")
    assert "an app server has not handed over in time" in caplog.text


@pytest.mark.parametrize("again", [False, True])
async def test_others_are_told_at_once_that_a_node_cannot_store_anything(again: bool) -> None:
    """It is lost before its next heartbeat. One of its clients was away and lacks an event that no journal
    has, so none of them is resumed; unless the node stores again."""
    keepers = Keepers()
    for world, router in zip(keepers.nodes.worlds, keepers.nodes.routers, strict=True):
        router.join(Alive(world.incarnation))
    keepers.settle()
    client = keepers.client(0)
    keepers.emit(0, 1)
    client.read()
    keepers.stores[LOST].works = False
    client.lose()
    keepers.emit(0, 2)
    if again:
        keepers.stores[LOST].works = True
        keepers.nodes.worlds[0].now += AGAIN
        keepers.nodes.worlds[0].node.tick(keepers.nodes.worlds[0].now)
        keepers.settle()
    await keepers.lose(1, 2)
    heirs = keepers.nodes.worlds[heir_of_lost()].node.keeping.heirs  # type: ignore[union-attr]
    assert heirs.was_unread(LOST) is not again
    keepers.come_back(client, heir_of_lost(), answer=False)
    assert keepers.refused(heir_of_lost()) == {"dropped" if again else "unstored": 1}
