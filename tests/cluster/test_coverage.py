"""Forwarding the commands of an app server that covers some of the nodes, over the memory broker."""

from __future__ import annotations

from moorage.cluster.coverage import Coverage
from moorage.cluster.membership import Member
from moorage.wire.cluster import VERSION
from moorage.wire.commands import EVERYONE, JoinGroups, Send, TellServers
from moorage.wire.groups import namespace_group
from tests.cluster.nodes import Nodes, Reply
from tests.cluster.test_homes import Covering
from tests.hub.fakes import HUB, RecordingAnswers

EMIT = Send(HUB, EVERYONE, b'42["x"]')


class Fleet:
    """Three nodes and their `Coverage`s."""

    def __init__(self, count: int = 3) -> None:
        self.nodes = Nodes(count)
        self.coverages = [
            Coverage(
                router, Member(f"n{at}", f"node {at}", "", "", VERSION), lambda node: bool(node.advertise)
            )
            for at, router in enumerate(self.nodes.routers)
        ]

    def got(self) -> list[int]:
        """Numbers of the nodes whose client got something, once for each packet."""
        heard = self.nodes.heard()
        return [
            at
            for at, clients in enumerate(self.nodes.clients)
            for client in clients
            for _ in heard.get(client.id, ())
        ]


def test_a_command_goes_to_the_nodes_that_are_not_covered() -> None:
    fleet = Fleet()
    beyond = fleet.coverages[0].beyond("i", 1, ("n0", "n1"))
    beyond.number = 1
    reply = Reply()
    fleet.nodes.worlds[0].node.submit(EMIT, reply, reply, reach=beyond)
    fleet.nodes.settle()
    assert fleet.got() == [0, 2]


def test_a_command_of_a_session_that_is_not_the_home_stays_here() -> None:
    fleet = Fleet()
    reply = Reply()
    fleet.nodes.worlds[0].node.submit(EMIT, reply, reply, reach=None)
    fleet.nodes.settle()
    assert fleet.got() == [0]


def test_a_write_waits_for_the_nodes_that_are_not_covered() -> None:
    fleet = Fleet()
    beyond = fleet.coverages[0].beyond("i", 1, ("n1",))
    beyond.number = 1
    reply = Reply()
    join = JoinGroups(HUB, EVERYONE, (namespace_group("/room"),))
    fleet.nodes.worlds[0].node.submit(join, reply, reply, reach=beyond)
    assert reply.all == []
    fleet.nodes.settle()
    assert reply.outcome.reached == 2


def test_a_write_with_nobody_left_is_answered_at_once() -> None:
    fleet = Fleet()
    beyond = fleet.coverages[0].beyond("i", 1, ("n1", "n2"))
    reply = Reply()
    join = JoinGroups(HUB, EVERYONE, (namespace_group("/room"),))
    fleet.nodes.worlds[0].node.submit(join, reply, reply, reach=beyond)
    assert reply.outcome.reached == 1


def test_a_repeated_command_is_answered_and_not_carried_out() -> None:
    fleet = Fleet()
    outcomes = []
    for _ in range(2):
        beyond = fleet.coverages[0].beyond("i", 1, ())
        beyond.number = 1
        reply = Reply()
        tell = TellServers(HUB, "/", b'42["x"]', "s0", 1.0)
        fleet.nodes.worlds[0].node.submit(tell, reply, reply, RecordingAnswers(), reach=beyond)
        fleet.nodes.settle()
        outcomes.append(reply.outcome.asked)
    assert outcomes == [2, 0]


def test_a_mark_comes_behind_everything_that_was_forwarded() -> None:
    fleet = Fleet()
    session = Covering(2)
    known = fleet.coverages[1].instance("i")
    assert not known.begin(session, fence=True)
    beyond = fleet.coverages[0].beyond("i", 1, ())
    beyond.number = 1
    reply = Reply()
    fleet.nodes.worlds[0].node.submit(EMIT, reply, reply, reach=beyond)
    fleet.coverages[0].changed("i", 2, ["n0", "n1"], [])
    fleet.nodes.settle()
    assert fleet.got() == [0, 1, 2]
    assert session.told == ["marked 2"]


def test_uncovering_reaches_the_session_of_the_other_node() -> None:
    fleet = Fleet()
    session = Covering(1)
    fleet.coverages[2].instance("i").begin(session, fence=False)
    fleet.coverages[0].changed("i", 2, [], ["n2", "n9"])
    fleet.nodes.settle()
    assert session.told == ["uncovered"]


def test_the_list_of_nodes_names_those_that_can_be_reached() -> None:
    fleet = Fleet(1)
    (row,) = fleet.coverages[0].nodes(HUB, "s")
    assert (row.id, row.name, row.url, row.cover) == ("n0", "node 0", "", True)
