"""App servers of one node as the others know them."""

from __future__ import annotations

from moorage.cluster.forwarding.announced import Announced, capabilities
from moorage.hub.hub import Capabilities
from moorage.wire.commands import ListServers, Server
from tests.cluster.forwarding.world import Forwarded
from tests.hub.fakes import HUB, LEAST, MOST, World


def test_each_node_counts_its_own_clients_of_an_app_server() -> None:
    world = Forwarded(3)
    for owner in (0, 0, 1):
        world.client(owner)
    for at in range(3):
        assert world.nodes.done(at, ListServers(HUB)).servers == (Server("s", "test", True, 3),)


def test_the_list_changes_with_its_app_servers() -> None:
    world = World()
    announced = Announced(world.node)
    assert not announced.refresh()
    first, _ = world.server("s1")
    assert announced.refresh()
    assert not announced.refresh()
    (row,) = announced.all.rows
    assert (row.id, row.hub, row.up, row.draining) == ("s1", HUB, True, False)
    first.draining = True
    assert announced.refresh()
    assert announced.all.rows[0].draining
    world.server("s2")
    announced.refresh()
    assert [each.number for each in announced.all.rows] == [1, 2]
    world.node.drop_server(world.node.ensure_hub(HUB), first)
    again, _ = world.server("s1")
    announced.refresh()
    # A number names one object for ever: clients of the first one are not those of the second one.
    assert sorted(each.number for each in announced.all.rows) == [2, 3]
    assert announced.get(1) is None
    assert announced.get(3) == (world.node.hub(HUB), again)


def test_capabilities_survive() -> None:
    for can in (Capabilities(), LEAST, MOST):
        assert capabilities(sum(1 << place for place, has in enumerate(can) if has)) == can
