"""What a node writes down of its app servers, and when their frames count as taken."""

from __future__ import annotations

from moorage.hub.hub import AppServer
from moorage.hub.journal.pages import Pages
from moorage.wire.recovery.journal import Linked, Taken
from tests.hub.fakes import HUB, RecordingLink, RecordingPeer
from tests.hub.journal.loss import INSTANCE, SESSION, JournalWorld, Keeper, moves
from tests.hub.recovery.stage import ROOT


def test_sessions_of_app_servers() -> None:
    keeper = Keeper()
    world, hub = keeper.world, keeper.world.hub()
    epoch = hub.recovery.log.epoch if hub.recovery is not None else ""
    world.node.claims.session_changed(hub, INSTANCE, True)
    world.node.claims.session_changed(hub, INSTANCE, False)
    other, _ = world.server("s2", peer=RecordingPeer())
    other.instance = "other"
    settings = world.node.hub_settings(HUB)
    world.node.claims.turn_on(hub, other, keeper.returns, 0.0, settings=settings, news=None)
    world.node.drop_server(hub, other)
    found = [entry for entry in Pages(keeper.pages).entries() if isinstance(entry, Linked)]
    assert found == [
        Linked(epoch, HUB, INSTANCE, up=True),
        Linked(epoch, HUB, INSTANCE, up=True),
        Linked(epoch, HUB, "other", up=True),
        Linked(epoch, HUB, "other", up=False),
    ]


def test_an_app_server_goes_at_another_node_and_stays_here() -> None:
    """For example because the other node is lost. If this one is lost later, the app server has something to
    hand over."""
    keeper, heir = Keeper(), Keeper()
    world, hub = keeper.world, keeper.world.hub()
    keeper.client()
    here = keeper.server
    there = AppServer(here.id, RecordingLink(), "test", here.can, instance=INSTANCE, node="elsewhere")
    hub.servers.elsewhere.add(there)
    world.node.drop_server(hub, there)
    heir.inherit(keeper, settle=False)
    assert heir.heirs.waits("lost")
    heir.heirs.handed_over("lost", HUB, INSTANCE, 0)
    assert not heir.heirs.waits("lost")


def test_an_app_server_that_can_hand_nothing_over_has_come_first() -> None:
    lost, heir = JournalWorld(), Keeper()
    for world in (lost, heir.world):
        azure, _ = world.server("azure")
        azure.draining = True
    keeper = Keeper(world=lost)
    client = keeper.client()
    keeper.emit(ROOT, b'42["a",1]')
    heir.inherit(keeper)
    assert not heir.heirs.waits("lost")
    moves(client, heir)
    assert [event[2] for event in client.events] == [1]


def test_frames_count_as_taken_when_that_is_stored() -> None:
    keeper = Keeper()
    world, hub = keeper.world, keeper.world.hub()
    epoch = hub.recovery.log.epoch if hub.recovery is not None else ""
    world.settle()
    world.store.silent = True
    taken: list[int] = []
    world.keeping.progress(hub, SESSION, 7, 3)
    world.keeping.taken(hub, SESSION, 7, lambda: taken.append(7))
    world.settle()
    assert taken == []
    world.store.silent = False
    world.settle()
    assert taken == [7]
    found = [entry for entry in Pages(keeper.pages).entries() if isinstance(entry, Taken)]
    assert found == [Taken(epoch, SESSION, 7, 3), Taken(epoch, SESSION, 8, 0)]


def test_a_hub_without_recovery() -> None:
    keeper = Keeper()
    keeper.world.settle()
    world, hub = keeper.world, keeper.world.hub()
    hub.recovery = None
    taken: list[int] = []
    world.keeping.progress(hub, SESSION, 1, 1)
    world.keeping.taken(hub, SESSION, 1, lambda: taken.append(1))
    world.node.claims.session_changed(hub, INSTANCE, False)
    assert taken == [1]


def test_after_a_failure_everything_is_described_again() -> None:
    keeper = Keeper()
    client = keeper.client()
    world = keeper.world
    counts = world.keeping.journal.counts
    before = counts.pages
    world.store.works = False
    world.join(client.connection, "a")
    world.settle()
    assert counts.failures == 1
    world.store.works = True
    world.node.hubs["none"] = world.node.ensure_hub("none")
    keeper.tick(3.0)
    world.settle()
    assert counts.pages > before
    heir = Keeper()
    heir.inherit(keeper)
    client.stage = heir
    client.save(b"")
    client.come_back()
    assert heir.returns.sockets[0][1].rooms == ("a",)
