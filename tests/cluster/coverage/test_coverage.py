"""Forwarding the commands of an app server that covers some of the nodes, over the memory broker."""

from __future__ import annotations

import pytest

from moorage.cluster.coverage.coverage import COVER_SECONDS, Coverage
from moorage.cluster.members.membership import LISTEN, Member
from moorage.cluster.requests import WAIT
from moorage.hub.hub import AppServer, Guest
from moorage.wire.cluster.messages import VERSION, Alive
from moorage.wire.commands import EVERYONE, JoinGroups, Send, TellServers
from moorage.wire.groups import namespace_group
from moorage.wire.handshake import Handshake
from moorage.wire.reasons import TRANSPORT_LOST
from tests.cluster.coverage.test_homes import Covering
from tests.cluster.nodes import Nodes, Reply
from tests.hub.connections.test_guests import RecordingOwner
from tests.hub.fakes import HUB, MOST, RecordingAnswers, RecordingLink

EMIT = Send(HUB, EVERYONE, b'42["x"]')


class Fleet:
    """Three nodes and their `Coverage`s."""

    def __init__(self, count: int = 3) -> None:
        self.nodes = Nodes(count)
        self.coverages = [
            Coverage(
                world.node,
                router,
                Member(f"n{at}", f"node {at}", "", "", VERSION),
                lambda node: bool(node.advertise),
                most=8,
            )
            for at, (world, router) in enumerate(zip(self.nodes.worlds, self.nodes.routers, strict=True))
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


def test_a_mark_of_its_own_comes_behind_everything_that_the_other_nodes_have_sent() -> None:
    fleet = Fleet()
    session = Covering(2)
    assert not fleet.coverages[1].instance("i").begin(session, fence=True)
    fleet.nodes.network.delay("n0", "n1")
    beyond = fleet.coverages[0].beyond("i", 1, ())
    beyond.number = 1
    reply = Reply()
    fleet.nodes.worlds[0].node.submit(EMIT, reply, reply, reach=beyond)
    fleet.coverages[1].mark(HUB, "i", 2)
    fleet.nodes.settle()
    assert (fleet.got(), session.told) == ([0, 2], [])
    fleet.nodes.network.release("n0", "n1")
    fleet.nodes.settle()
    assert (fleet.got(), session.told) == ([0, 1, 2], ["marked 2"])


def test_a_mark_of_its_own_does_not_come_if_a_node_does_not_answer() -> None:
    fleet = Fleet()
    session = Covering(2)
    assert not fleet.coverages[1].instance("i").begin(session, fence=True)
    fleet.nodes.network.delay("n0", "n1")
    fleet.coverages[1].mark(HUB, "i", 2)
    fleet.nodes.later(WAIT + 1)
    fleet.nodes.settle()
    assert session.told == []


def test_a_new_home_tells_all_nodes_its_term() -> None:
    """What the former home has forwarded arrives behind what the new one has sent: it is dropped."""
    fleet = Fleet()
    fleet.nodes.network.delay("n0", "n2")
    for home, term in ((0, 1), (1, 2)):
        fleet.coverages[home].changed("i", term, ["n0", "n1"], None)
        beyond = fleet.coverages[home].beyond("i", term, ("n0", "n1"))
        beyond.number = term
        fleet.nodes.worlds[home].node.submit(EMIT, reply := Reply(), reply, reach=beyond)
        fleet.nodes.settle()
    fleet.nodes.network.release("n0", "n2")
    fleet.nodes.settle()
    assert fleet.got() == [0, 1, 2]


def test_uncovering_reaches_the_session_of_the_other_node() -> None:
    fleet = Fleet()
    session = Covering(1)
    fleet.coverages[2].instance("i").begin(session, fence=False)
    fleet.coverages[0].changed("i", 2, [], ["n2", "n9"])
    fleet.nodes.settle()
    assert session.told == ["uncovered"]


def test_the_list_of_nodes_names_those_that_can_be_reached() -> None:
    fleet = Fleet(1)
    hub = fleet.nodes.worlds[0].hub()
    (row,) = fleet.coverages[0].nodes(hub.servers.all()[0], hub, ())
    assert (row.id, row.name, row.url, row.cover) == ("n0", "node 0", "", True)


class Announcing:
    """A node of a cluster whose heartbeats are `Alive`, with one app server of its own, `s0`."""

    def __init__(self, others: int, *, most: int = 2, advertise: str = "http://h") -> None:
        self.nodes = Nodes(1)
        world, router = self.nodes.worlds[0], self.nodes.routers[0]
        self.node, self.hub = world.node, world.hub()
        (self.app,) = self.hub.servers.all()
        self.app.instance = "i0"
        router.join(Alive("zero"))
        assert router.membership is not None
        for number in range(1, others + 1):
            router.membership.alive(f"o{number}", Alive(f"other {number}", advertise=advertise), world.now)
        own = Member("n0", "zero", "", advertise, VERSION)
        self.coverage = Coverage(self.node, router, own, lambda node: bool(node.advertise), most=most)
        self.router = router

    def remote(self, server_id: str, **given: object) -> AppServer:
        """An app server that is linked to another node."""
        app = AppServer(server_id, RecordingLink(), "moorage", MOST)
        app.instance, app.up = f"instance of {server_id}", True
        for name, value in given.items():
            setattr(app, name, value)
        self.hub.servers.elsewhere.add(app)
        return app

    def covers(self, *covered: str) -> set[str]:
        return {row.id for row in self.coverage.nodes(self.app, self.hub, covered) if row.cover}


def test_all_nodes_are_covered_up_to_the_limit_and_some_beyond() -> None:
    assert Announcing(2, most=3).covers() == {"n0", "o1", "o2"}
    cluster = Announcing(20, most=3)
    for number in range(40):
        cluster.remote(f"r{number}")
    assert 3 <= len(cluster.covers()) <= 5
    assert "n0" in cluster.covers()


def test_an_app_server_alone_covers_all_nodes() -> None:
    assert len(Announcing(20, most=3).covers()) == 21


def test_a_session_at_a_node_that_is_no_home_may_end() -> None:
    cluster = Announcing(40, most=1)
    for number in range(40):
        cluster.remote(f"r{number}")
    chosen = cluster.covers() - {"n0"}
    cluster.app.home = False
    assert chosen <= cluster.covers() <= chosen | {"n0"}


def test_nodes_without_an_address_are_not_covered() -> None:
    assert Announcing(2, advertise="").covers() == {"n0"}


def test_a_node_that_forwards_clients_is_not_covered_until_the_last_is_gone() -> None:
    cluster = Announcing(2, most=3)
    owner = RecordingOwner()
    guest = Guest("o1-c", cluster.hub, user_id=None, server=cluster.app, node="o1", owner=owner)
    cluster.node.guests.welcome(guest, Handshake(query={}, headers={}))
    assert cluster.covers() == {"n0", "o2"}
    assert cluster.covers("n0", "o1") == {"n0", "o1", "o2"}, "a session that is there stays"
    cluster.node.guests.gone(guest, TRANSPORT_LOST)
    assert cluster.covers() == {"n0", "o1", "o2"}


@pytest.mark.parametrize(
    "awaited",
    [
        {},
        {"draining": True},
        {"up": False},
        {"emit_only": True},
        {"home": False},
        {"instance": ""},
    ],
    ids=str,
)
def test_a_node_is_covered_when_each_app_server_that_should_be_here_is(awaited: dict[str, object]) -> None:
    cluster = Announcing(0)
    now = cluster.nodes.worlds[0].now
    assert not cluster.coverage.is_covered(now), "it still listens"
    cluster.nodes.later(LISTEN)
    assert cluster.coverage.is_covered(now + LISTEN)
    cluster.remote("r", **awaited)
    assert cluster.coverage.is_covered(now + LISTEN) is bool(awaited)
    assert cluster.coverage.is_covered(now + LISTEN + COVER_SECONDS)
    here = AppServer("r", RecordingLink(), "moorage", MOST)
    here.up = True
    cluster.hub.servers.add(here)
    assert cluster.coverage.is_covered(now + LISTEN)


def test_a_node_without_an_address_awaits_nobody() -> None:
    cluster = Announcing(0, advertise="")
    cluster.remote("r")
    cluster.nodes.later(LISTEN)
    assert cluster.coverage.is_covered(cluster.nodes.worlds[0].now)


def test_a_node_waits_until_all_others_have_told_of_their_app_servers() -> None:
    cluster = Announcing(1)
    cluster.nodes.later(LISTEN)
    now = cluster.nodes.worlds[0].now
    assert not cluster.coverage.is_covered(now)
    assert cluster.coverage.is_covered(now + COVER_SECONDS)
