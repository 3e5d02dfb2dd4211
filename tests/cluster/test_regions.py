"""Nodes in several regions, over the memory broker. tests/integration/test_regions.py has real servers."""

from __future__ import annotations

import pytest

from moorage.cluster.coverage.coverage import Coverage
from moorage.cluster.members.membership import Member
from moorage.cluster.requests import GRACE, WAIT
from moorage.hub.hub import AppServer, Connection
from moorage.wire.cluster.messages import VERSION, Alive
from moorage.wire.commands import (
    EVERYONE,
    Exists,
    FetchSockets,
    Invoke,
    JoinGroups,
    LeaveGroups,
    Selection,
    Send,
)
from moorage.wire.groups import room_group
from tests.cluster.nodes import Nodes
from tests.hub.fakes import HUB, heard

ROOM = room_group("/", "room")
EVENT = b'42["e"]'
REGIONS = ("eu", "eu", "us", "us")


def regions() -> Nodes:
    """Four nodes: 0 and 1 in one region, 2 and 3 in another."""
    return Nodes(4, prefix="node000", regions=REGIONS)


def separate(nodes: Nodes) -> None:
    """Messages between the regions stay under way from now on."""
    for one in (0, 1):
        for other in (2, 3):
            nodes.network.delay(f"node000{one}", f"node000{other}")
            nodes.network.delay(f"node000{other}", f"node000{one}")


def arrive(nodes: Nodes) -> None:
    """What is under way between the regions arrives."""
    for one in (0, 1):
        for other in (2, 3):
            nodes.network.release(f"node000{one}", f"node000{other}")
            nodes.network.release(f"node000{other}", f"node000{one}")
    nodes.settle()


def join(client: Connection) -> JoinGroups:
    return JoinGroups(HUB, Selection(connection=client.id), (ROOM,))


def test_a_join_waits_for_the_nodes_of_its_own_region_only() -> None:
    nodes = regions()
    separate(nodes)
    member = nodes.clients[0][0]
    assert nodes.done(0, join(member)).reached == 1
    nodes.submit(1, Send(HUB, Selection(group=ROOM), EVENT))
    nodes.settle()
    assert nodes.heard() == {member.id: [EVENT]}


def test_a_join_still_waits_for_each_node_of_its_own_region() -> None:
    nodes = regions()
    nodes.network.delay("node0001", "node0000")
    reply = nodes.submit(0, join(nodes.clients[0][0]))
    nodes.settle()
    assert reply.all == []
    nodes.later(WAIT + GRACE)
    nodes.settle()
    assert reply.outcome.missing == ("node 1",)


def test_another_region_knows_of_a_join_after_the_way_there() -> None:
    nodes = regions()
    here, there = nodes.clients[0][0], nodes.clients[2][0]
    nodes.done(2, join(there))
    separate(nodes)
    nodes.done(0, join(here))
    nodes.submit(2, Send(HUB, Selection(group=ROOM), b'42["early"]'))
    nodes.settle()
    assert nodes.heard() == {there.id: [b'42["early"]']}
    arrive(nodes)
    nodes.done(2, Send(HUB, Selection(group=ROOM), EVENT))
    assert heard(here) == [EVENT]


def test_an_emit_with_acks_asks_a_new_member_in_another_region_after_the_way_there_too() -> None:
    nodes = regions()
    nodes.done(2, join(nodes.clients[2][0]))
    separate(nodes)
    nodes.done(0, join(nodes.clients[0][0]))
    ask = Invoke(HUB, Selection(group=ROOM), EVENT, 1.0)
    early, _ = nodes.ask(2, ask)
    nodes.settle()
    # It waits for no other region, and so it does not know that somebody is missing.
    assert (early.outcome.asked, early.outcome.missing) == (1, ())
    arrive(nodes)
    late, _ = nodes.ask(2, ask)
    nodes.settle()
    assert (late.outcome.asked, late.outcome.missing) == (2, ())


def test_nobody_acknowledges_what_another_region_tells() -> None:
    nodes = regions()
    before = [router.streams.sent for router in nodes.routers]
    nodes.done(2, join(nodes.clients[2][0]))
    nodes.settle()
    sent = [router.streams.sent - first for router, first in zip(nodes.routers, before, strict=True)]
    assert (sent[:2], sent[3]) == ([0, 0], 1)


def test_a_join_for_clients_of_another_region_is_answered_after_the_way_there_and_back() -> None:
    nodes = regions()
    separate(nodes)
    member = nodes.clients[2][0]
    reply = nodes.submit(0, join(member))
    nodes.settle()
    assert reply.all == []
    arrive(nodes)
    assert reply.outcome.reached == 1
    nodes.submit(0, Send(HUB, Selection(group=ROOM), EVENT))
    nodes.settle()
    assert heard(member) == [EVENT]


def test_writes_and_asks_gather_all_regions_and_name_those_that_do_not_answer() -> None:
    nodes = regions()
    separate(nodes)
    leave = nodes.submit(0, LeaveGroups(HUB, EVERYONE, (ROOM,)))
    fetch, _ = nodes.ask(0, FetchSockets(HUB, EVERYONE, "/", 1.0, 0))
    exists = nodes.submit(0, Exists(HUB, EVERYONE))
    nodes.settle()
    nodes.later(WAIT + GRACE)
    for reply in (leave, fetch, exists):
        assert set(reply.outcome.missing) == {"node 2", "node 3"}
    assert (leave.outcome.reached, fetch.outcome.reached) == (2, 2)


def test_emits_and_acks_cross_regions() -> None:
    nodes = regions()
    nodes.done(0, Send(HUB, EVERYONE, EVENT))
    assert len(nodes.heard()) == 4
    reply, answers = nodes.ask(0, Invoke(HUB, EVERYONE, EVENT, 1.0))
    nodes.settle()
    assert reply.outcome.asked == 4
    assert answers.finished == 0


# -- who serves a client without an app server at its node ------------------------------------------


def chosen(nodes: Nodes, at: int) -> AppServer:
    found = nodes.worlds[at].hub().servers.choose()
    assert found is not None
    return found


def without_app_servers(*regions: str) -> Nodes:
    return Nodes(len(regions), 0, "node000", regions=regions, app_servers=False)


@pytest.mark.parametrize("busy", [0, 50], ids=["idle", "with many clients"])
def test_an_app_server_of_the_own_region_is_the_first_choice(busy: int) -> None:
    nodes = without_app_servers(*REGIONS)
    nodes.worlds[1].server("near")
    for _ in range(busy):
        nodes.worlds[1].client("/")
    nodes.worlds[2].server("far")
    nodes.settle()
    nodes.later(1.0)
    nodes.settle()
    assert [chosen(nodes, at).id for at in range(4)] == ["near", "near", "far", "far"]


def test_without_one_there_an_app_server_of_another_region_serves() -> None:
    nodes = without_app_servers(*REGIONS)
    nodes.worlds[3].server("far")
    nodes.settle()
    assert {chosen(nodes, at).id for at in range(4)} == {"far"}


def test_an_app_server_stays_in_its_region_when_messages_were_lost() -> None:
    nodes = without_app_servers("eu", "us", "eu")
    nodes.worlds[1].server("far")
    nodes.worlds[2].server("near")
    nodes.settle()
    for peer in ("node0001", "node0002"):
        nodes.routers[0].forwarding.restart(peer)
    nodes.settle()
    assert chosen(nodes, 0).id == "near"


# -- the list that app servers get -------------------------------------------------------------------


class Listing:
    """A node in the region `own` that hears the others. `app` is an app server with a session there."""

    def __init__(self, own: str, others: dict[str, str], most: int = 8) -> None:
        nodes = Nodes(1, prefix="node000")
        router, self.world = nodes.routers[0], nodes.worlds[0]
        router.join(Alive("me", region=own, advertise="http://me"))
        assert router.membership is not None
        for name, region in others.items():
            router.membership.alive(name, Alive(name, region=region, advertise=f"http://{name}"), 100.0)
        me = Member("node0000", "me", own, "http://me", VERSION)
        node = self.world.node
        self.coverage = Coverage(node, router, me, lambda each: bool(each.advertise), most=most)
        (self.app,) = self.world.hub().servers.all()

    def covered(self) -> set[str]:
        rows = self.coverage.nodes(self.app, self.world.hub(), ())
        return {row.id for row in rows if row.cover}


def test_an_app_server_covers_the_nodes_of_its_region() -> None:
    listing = Listing("eu", {"node0001": "eu", "node0002": "us", "node0003": ""})
    assert listing.covered() == {"node0000", "node0001"}
    assert len(listing.coverage.nodes(listing.app, listing.world.hub(), ())) == 4


def test_nodes_without_a_region_are_in_one_region() -> None:
    listing = Listing("", {"node0001": "", "node0002": "us"})
    assert listing.covered() == {"node0000", "node0001"}


def test_a_join_behind_a_node_of_another_region_that_is_frozen_is_not_late() -> None:
    nodes = regions()
    for at in (0, 1, 3):
        nodes.network.delay("node0002", f"node000{at}")
    assert nodes.done(0, join(nodes.clients[0][0])).missing == ()
