from __future__ import annotations

import pytest
from msgspec.structs import replace

from moorage.cluster.members.membership import (
    INTERVAL,
    LARGE,
    LISTEN,
    LONG_INTERVAL,
    MAX_NODES,
    MISSED,
    SILENCE,
    Member,
    Membership,
)
from moorage.cluster.memory import MemoryNetwork
from moorage.cluster.router import Router
from moorage.wire.cluster.messages import VERSION, Alive, Goodbye
from moorage.wire.commands import EVERYONE, Command, Exists, Selection, Send
from tests.cluster.nodes import NodeWorld, Reply
from tests.hub.fakes import HUB, RecordingPeer, heard, sink_of
from tests.support.log_lines import fields

OWN = Alive("own", region="here", advertise="http://own:1", interval=INTERVAL)


class Recorder:
    """The list of the other nodes, and what was sent to them."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}
        self.near: set[str] = set()
        """Those in the region of this node."""
        self.sent: list[Alive | Goodbye] = []

    def add(self, incarnation: str, name: str, *, near: bool) -> None:
        assert incarnation not in self.names
        self.names[incarnation] = name
        if near:
            self.near.add(incarnation)

    def remove(self, incarnation: str) -> None:
        del self.names[incarnation]
        self.near.discard(incarnation)

    def beat(self, body: Alive | Goodbye) -> None:
        self.sent.append(body)


@pytest.fixture
def nodes() -> Recorder:
    return Recorder()


@pytest.fixture
def membership(nodes: Recorder) -> Membership:
    made = Membership("own", OWN, nodes)
    made.start(100.0)
    nodes.sent.clear()
    return made


def pass_time(membership: Membership, since: float, until: float) -> None:
    """Tick four times per interval."""
    steps = round((until - since) * 4 / INTERVAL)
    for step in range(1, steps + 1):
        membership.tick(since + step * INTERVAL / 4)


def test_a_new_node_asks_the_others_to_answer_at_once(nodes: Recorder) -> None:
    Membership("own", OWN, nodes).start(0.0)
    assert nodes.sent == [replace(OWN, new=True)]


def test_a_node_answers_a_new_one_at_once(nodes: Recorder, membership: Membership) -> None:
    membership.alive("b", Alive("node b", True), 100.1)
    assert (nodes.names, nodes.sent) == ({"b": "node b"}, [OWN])
    membership.alive("b", Alive("node b"), 100.2)
    assert len(nodes.sent) == 1


def test_a_heartbeat_each_interval(nodes: Recorder, membership: Membership) -> None:
    pass_time(membership, 100.0, 105.0)
    assert nodes.sent == [OWN] * 5


def test_a_node_that_is_silent_for_three_intervals_is_gone(nodes: Recorder, membership: Membership) -> None:
    membership.alive("b", Alive("node b"), 100.0)
    membership.alive("c", Alive("node c"), 100.0)
    pass_time(membership, 100.0, 102.0)
    membership.alive("c", Alive("node c"), 102.0)
    pass_time(membership, 102.0, 100.0 + SILENCE - 0.25)
    assert set(nodes.names) == {"b", "c"}
    membership.tick(100.0 + SILENCE)
    assert set(nodes.names) == {"c"}
    assert membership.count == 2


def crowd(membership: Membership, now: float, count: int = LARGE, interval: float = LONG_INTERVAL) -> None:
    """So many other nodes send a heartbeat."""
    for number in range(count):
        membership.alive(f"n{number}", Alive(f"node {number}", interval=interval), now)


def beats(nodes: Recorder, membership: Membership, since: float, until: float) -> list[tuple[float, float]]:
    """When this node sends its heartbeats, and the interval that each of them tells."""
    found = []
    for step in range(round((until - since) * 4)):
        nodes.sent.clear()
        membership.tick(since + step / 4)
        found += [(since + step / 4, beat.interval) for beat in nodes.sent if isinstance(beat, Alive)]
    return found


def test_heartbeats_of_a_large_cluster(nodes: Recorder, membership: Membership) -> None:
    crowd(membership, 100.0, LARGE - 1)
    assert beats(nodes, membership, 100.0, 102.0) == [(101.0, INTERVAL)]
    crowd(membership, 102.0)
    told = [(102.0 + at, LONG_INTERVAL) for at in range(MISSED + 1)]
    assert beats(nodes, membership, 102.0, 110.0) == [*told, (108.0, LONG_INTERVAL)], (
        "told often enough first"
    )
    membership.goodbye("n0")
    assert beats(nodes, membership, 110.0, 112.25) == [(111.0, INTERVAL), (112.0, INTERVAL)]


def test_a_node_of_a_large_cluster_may_be_silent_for_longer(nodes: Recorder, membership: Membership) -> None:
    crowd(membership, 100.0, 2)
    membership.alive("n1", Alive("node 1", interval=INTERVAL), 100.0)
    pass_time(membership, 100.0, 100.0 + MISSED * LONG_INTERVAL - 0.25)
    assert set(nodes.names) == {"n0"}
    membership.tick(100.0 + MISSED * LONG_INTERVAL)
    assert nodes.names == {}


def test_with_an_older_node_heartbeats_stay_frequent(nodes: Recorder, membership: Membership) -> None:
    crowd(membership, 100.0)
    membership.alive("old", Alive("old"), 100.0)
    assert beats(nodes, membership, 100.0, 102.5) == [(101.0, INTERVAL), (102.0, INTERVAL)]


def test_a_node_that_says_goodbye_is_gone_at_once(nodes: Recorder, membership: Membership) -> None:
    membership.alive("b", Alive("node b"), 100.0)
    membership.goodbye("b")
    assert (nodes.names, membership.count) == ({}, 1)
    membership.goodbye("b")


def test_a_node_that_was_gone_comes_back(nodes: Recorder, membership: Membership) -> None:
    membership.alive("b", Alive("node b"), 100.0)
    pass_time(membership, 100.0, 104.0)
    assert nodes.names == {}
    membership.alive("b", Alive("node b"), 104.1)
    assert nodes.names == {"b": "node b"}


def test_a_node_that_slept_judges_nobody_before_it_has_read(nodes: Recorder, membership: Membership) -> None:
    membership.alive("b", Alive("node b"), 100.0)
    membership.tick(100.25)
    membership.tick(160.0)
    assert set(nodes.names) == {"b"}
    pass_time(membership, 160.0, 160.0 + SILENCE)
    assert nodes.names == {}


def test_the_log_tells_who_joins_who_leaves_and_who_is_lost(
    nodes: Recorder, membership: Membership, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    membership.alive("b", Alive("node b", region="far", advertise="http://b:1"), 100.0)
    membership.alive("c", Alive("node c"), 100.0)
    membership.goodbye("b")
    membership.goodbye("b")
    pass_time(membership, 100.0, 100.0 + SILENCE)
    assert nodes.names == {}
    assert [line.levelname for line in caplog.records] == ["INFO", "INFO", "INFO", "WARNING"]
    joined, _, left, lost = map(fields, caplog.records)
    assert joined["event"] == "node joined"
    assert (joined["name"], joined["incarnation"]) == ("node b", "b")
    assert (joined["region"], joined["advertise"], joined["nodes"]) == ("far", "http://b:1", 2)
    assert left["event"] == "node left"
    assert lost["event"] == "node lost: it sends no heartbeats"
    assert (lost["name"], lost["incarnation"], lost["nodes"]) == ("node c", "c", 1)


def test_the_list_has_what_the_heartbeats_say(membership: Membership) -> None:
    membership.alive("b", Alive("node b", region="far", advertise="http://b:1", version=(1, 7)), 100.0)
    assert membership.members == {"b": Member("b", "node b", "far", "http://b:1", (1, 7))}
    membership.goodbye("b")
    assert membership.members == {}


def test_a_node_of_another_version_is_refused_with_one_line(
    nodes: Recorder, membership: Membership, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        membership.alive("b", Alive("node b", True, version=(2, 0)), 100.0)
    assert (nodes.names, nodes.sent, membership.count) == ({}, [], 1)
    (line,) = map(fields, caplog.records)
    assert "another version" in line["event"]
    own = ".".join(map(str, VERSION))
    assert (line["name"], line["version"], line["own_version"]) == ("node b", "2.0", own)
    assert membership.refused == 3, "each heartbeat counts"


def test_two_nodes_may_have_one_name_and_the_log_tells(
    nodes: Recorder, membership: Membership, caplog: pytest.LogCaptureFixture
) -> None:
    membership.alive("b", Alive("own"), 100.0)
    membership.alive("c", Alive("node c"), 100.0)
    membership.alive("d", Alive("node c"), 100.0)
    assert set(nodes.names) == {"b", "c", "d"}
    assert [fields(line)["name"] for line in caplog.records] == ["own", "node c"]


def test_heartbeats_that_somebody_makes_up_take_bounded_memory(
    nodes: Recorder, membership: Membership, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(2 * MAX_NODES):
        membership.alive(f"b{number}", Alive(f"node {number}"), 100.0)
    assert len(nodes.names) == MAX_NODES
    assert "too many" in str(caplog.records[0].msg)


def test_a_node_is_ready_when_it_has_listened(membership: Membership) -> None:
    assert not membership.has_listened(100.0 + LISTEN - 0.1)
    assert membership.has_listened(100.0 + LISTEN)


def test_a_node_that_knows_all_others_is_ready_when_it_has_heard_them(membership: Membership) -> None:
    membership.expect({"b", "c"})
    membership.alive("b", Alive("node b"), 100.0)
    assert not membership.has_listened(100.1)
    membership.alive("c", Alive("node c"), 100.1)
    assert membership.has_listened(100.1)


def test_a_node_that_stopped_is_silent(nodes: Recorder, membership: Membership) -> None:
    membership.stop()
    assert nodes.sent == [Goodbye()]
    membership.stop()
    membership.alive("b", Alive("node b", True), 101.0)
    pass_time(membership, 100.0, 110.0)
    assert (nodes.names, nodes.sent) == ({}, [Goodbye()])
    assert not membership.has_listened(110.0)


class Joined:
    """Nodes that find each other by their heartbeats, each with an app server and one client."""

    def __init__(self, count: int, prefix: str = "n") -> None:
        self.network = MemoryNetwork()
        self.worlds: list[NodeWorld] = []
        self.routers: list[Router] = []
        for at in range(count):
            world = NodeWorld()
            world.incarnation = name = f"{prefix}{at}"
            router = Router(world.node, self.network.broker(name), name)
            router.start()
            router.join(Alive(f"node {at}"))
            self.worlds.append(world)
            self.routers.append(router)
        self.settle()

    def settle(self) -> None:
        while any(world.scheduled or world.turns for world in self.worlds) or self.network.step():
            for world in self.worlds:
                world.settle()

    def submit(self, at: int, command: Command) -> Reply:
        reply = Reply()
        self.worlds[at].node.submit(command, reply, reply)
        return reply

    def later(self, seconds: float, *nodes: int) -> None:
        """Time passes, at some or at all nodes."""
        for _ in range(round(seconds * 4)):
            for at, (world, router) in enumerate(zip(self.worlds, self.routers, strict=True)):
                world.now += 0.25
                if not nodes or at in nodes:
                    router.tick(world.now)
            self.settle()

    def counts(self) -> list[int]:
        """How many nodes each node hears."""
        return [router.membership.count for router in self.routers if router.membership is not None]


def test_routers_find_each_other_and_notice_who_goes() -> None:
    nodes = Joined(3)
    assert nodes.counts() == [3, 3, 3]
    nodes.later(10.0)
    assert nodes.counts() == [3, 3, 3]
    nodes.network.partition({"n0", "n1"}, {"n2"})
    nodes.later(SILENCE + INTERVAL)
    assert nodes.counts() == [2, 2, 1]
    nodes.network.heal()
    nodes.later(2 * INTERVAL)
    assert nodes.counts() == [3, 3, 3]
    nodes.routers[0].stop()
    nodes.settle()
    assert nodes.counts()[1:] == [2, 2]


def test_a_partition_heals_without_ghosts() -> None:
    nodes = Joined(3)
    clients = []
    for at, world in enumerate(nodes.worlds):
        world.server(f"s{at}", peer=RecordingPeer())
        clients.append(world.client("/"))
    nodes.settle()
    nodes.network.partition({"n0", "n1"}, {"n2"})
    nodes.later(SILENCE + INTERVAL)
    ghost = clients[2].id
    nodes.submit(2, Send(HUB, EVERYONE, b'42["divided"]'))
    nodes.network.heal()
    nodes.later(2 * INTERVAL)
    for client in clients:
        sink_of(client).writes.clear()
    for at in range(3):
        nodes.submit(at, Send(HUB, EVERYONE, b'42["%d"]' % at))
    nodes.settle()
    assert [sorted(heard(client)) for client in clients] == [[b'42["0"]', b'42["1"]', b'42["2"]']] * 3
    for at in range(3):
        reply = nodes.submit(at, Exists(HUB, Selection(connection=ghost)))
        nodes.settle()
        assert (reply.outcome.found, reply.outcome.missing) == (True, ())


def test_a_node_that_stands_still_for_a_moment_keeps_all_messages() -> None:
    nodes = Joined(2)
    for at, world in enumerate(nodes.worlds):
        world.server(f"s{at}", peer=RecordingPeer())
    client = nodes.worlds[1].client("/")
    nodes.settle()
    sink_of(client).writes.clear()
    nodes.network.delay("n0", "n1")
    for number in range(3):
        nodes.submit(0, Send(HUB, EVERYONE, b'42["%d"]' % number))
    nodes.later(SILENCE - INTERVAL, 0)
    assert nodes.counts() == [2, 2]
    nodes.network.release("n0", "n1")
    nodes.later(2 * INTERVAL)
    assert nodes.counts() == [2, 2]
    assert heard(client) == [b'42["0"]', b'42["1"]', b'42["2"]']


def test_nodes_with_the_region_of_this_one_are_near(nodes: Recorder, membership: Membership) -> None:
    membership.alive("b", Alive("node b", region="here"), 100.0)
    membership.alive("c", Alive("node c", region="there"), 100.0)
    membership.alive("d", Alive("node d"), 100.0)
    assert (set(nodes.names), nodes.near) == ({"b", "c", "d"}, {"b"})
