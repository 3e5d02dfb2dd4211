"""A node that is alone in not acknowledging groups: nobody waits for it for ever, and answers name it."""

from __future__ import annotations

import pytest

from moorage.cluster.directory import LATE_SECONDS, Directory
from moorage.wire.commands import JoinGroups, Selection
from moorage.wire.groups import room_group
from tests.cluster.nodes import Nodes
from tests.cluster.test_directory import HUB as DIRECTORY_HUB
from tests.cluster.test_directory import World, visible
from tests.hub.fakes import HUB, heard

ROOM = room_group("/", "room")


def unaware(directory: Directory) -> tuple[str, ...]:
    """The peers for which joins did not wait."""
    return directory.unaware


class TestAPeerThatDoesNotAcknowledge:
    """`n2` is alive, but no acknowledgement of it arrives."""

    def world(self) -> World:
        world = World(3).join()
        world.all["n0"].first(DIRECTORY_HUB, "g")
        world.tick()
        for pair in (("n0", "n1"), ("n1", "n0")):
            world.step(pair)
        return world

    def test_joins_wait_for_it_some_seconds_and_then_name_it(self, caplog: pytest.LogCaptureFixture) -> None:
        world = self.world()
        directory = world.all["n0"]
        told = visible(directory, "g")
        world.later("n0", LATE_SECONDS - 0.5)
        assert (told, unaware(directory), directory.times_late) == ([], (), 0)
        world.later("n0", 1)
        assert (told, unaware(directory), directory.times_late) == (["visible"], ("n2",), 1)
        assert not directory.is_pending(DIRECTORY_HUB, ["g"]), "nothing is kept for it"
        assert len([one for one in caplog.records if "does not acknowledge" in one.getMessage()]) == 1

    def test_further_joins_wait_only_for_the_others(self) -> None:
        world = self.world()
        directory = world.all["n0"]
        world.later("n0", LATE_SECONDS + 1)
        directory.first(DIRECTORY_HUB, "h")
        told = visible(directory, "h")
        world.tick()
        assert told == []
        world.step(("n0", "n1"))
        world.step(("n1", "n0"))
        assert told == ["visible"]
        world.later("n0", LATE_SECONDS)
        assert directory.times_late == 1

    def test_joins_wait_for_it_again_once_it_acknowledges(self) -> None:
        world = self.world()
        directory = world.all["n0"]
        world.later("n0", LATE_SECONDS + 1)
        world.settle()
        assert unaware(directory) == ("n2",), "until the next tick"
        world.later("n0", 0.25)
        assert unaware(directory) == ()
        directory.first(DIRECTORY_HUB, "h")
        told = visible(directory, "h")
        world.tick()
        world.step(("n0", "n1"))
        world.step(("n1", "n0"))
        assert told == []
        world.settle()
        assert told == ["visible"]

    def test_it_is_named_until_it_has_acknowledged_what_joins_did_not_wait_for(self) -> None:
        world = self.world()
        directory = world.all["n0"]
        world.later("n0", LATE_SECONDS + 1)
        directory.first(DIRECTORY_HUB, "h")
        world.tick()
        world.step(("n0", "n2"))
        world.step(("n2", "n0"))
        world.later("n0", 0.25)
        assert unaware(directory) == ("n2",), "it knows g, and not h"
        world.settle()
        world.later("n0", 0.25)
        assert unaware(directory) == ()

    def test_it_is_not_named_any_more_once_it_is_gone(self) -> None:
        world = self.world()
        directory = world.all["n0"]
        world.later("n0", LATE_SECONDS + 1)
        directory.remove("n2")
        assert unaware(directory) == ()

    def test_a_node_that_stood_still_judges_nobody_by_that_time(self) -> None:
        world = self.world()
        directory = world.all["n0"]
        world.later("n0", 1)
        world.now += 60
        world.later("n0", 1)
        assert unaware(directory) == ()
        world.settle()
        world.later("n0", LATE_SECONDS)
        assert (unaware(directory), directory.times_late) == ((), 0)

    def test_nobody_waits_for_a_peer_of_another_region(self) -> None:
        world = World(2)
        world.all["n0"].add("n1", near=False)
        world.all["n0"].first(DIRECTORY_HUB, "g")
        world.tick()
        world.later("n0", LATE_SECONDS + 1)
        assert unaware(world.all["n0"]) == ()


class TestClientsAndAppServersMeanwhile:
    """Node 2 does not acknowledge."""

    def nodes(self) -> Nodes:
        nodes = Nodes(3, prefix="node000")
        nodes.network.delay("node0002", "node0000")
        nodes.network.delay("node0002", "node0001")
        return nodes

    def test_a_client_is_told_that_it_is_connected(self) -> None:
        nodes = self.nodes()
        client = nodes.worlds[0].client()
        nodes.worlds[0].node.receive(client, b"40/chat,")
        nodes.worlds[0].send(client, b'40/chat,{"sid":"s"}')
        nodes.settle()
        nodes.later(LATE_SECONDS - 0.5)
        nodes.settle()
        assert heard(client) == []
        nodes.later(1)
        nodes.settle()
        assert heard(client) == [b'40/chat,{"sid":"s"}']

    def test_a_join_is_answered_and_names_the_node(self) -> None:
        nodes = self.nodes()
        join = JoinGroups(HUB, Selection(connection=nodes.clients[0][0].id), (ROOM,))
        first = nodes.submit(0, join)
        nodes.settle()
        nodes.later(LATE_SECONDS + 0.5)
        assert (first.outcome.reached, first.outcome.missing) == (1, ("node 2",))
        assert nodes.done(0, join).missing == ("node 2",), "the next one does not wait"
        nodes.network.release("node0002", "node0000")
        nodes.settle()
        nodes.later(0.5)
        assert nodes.done(0, join).missing == ()

    def test_a_join_at_another_node_names_the_node_that_one_did_not_wait_for(self) -> None:
        nodes = self.nodes()
        member = nodes.clients[1][0]
        reply = nodes.submit(0, JoinGroups(HUB, Selection(connection=member.id), (ROOM,)))
        nodes.settle()
        nodes.later(LATE_SECONDS + 0.5)
        nodes.settle()
        assert (reply.outcome.reached, reply.outcome.missing) == (1, ("node 2",))
