"""Which other nodes a command goes to, and what makes a node count before it has told of its members."""

from __future__ import annotations

import pytest

from moorage.cluster.directory import Directory, hash_of
from moorage.cluster.targets import EXPECT_SECONDS, Targets
from moorage.wire.cluster.messages import Acknowledged, Alive, Delta, Envelope, Snapshot, WantGroups
from moorage.wire.commands import (
    EVERYONE,
    CloseConnections,
    Command,
    DrainNode,
    Exists,
    FetchSockets,
    Inspect,
    Invoke,
    JoinGroups,
    LeaveGroups,
    LeaveNamespace,
    ListGroup,
    ListServers,
    Selection,
    Send,
    SendToConnection,
    TellServers,
)
from moorage.wire.filters.compiled import Filter, compile_filter
from moorage.wire.groups import namespace_group, room_group
from tests.cluster.nodes import Nodes
from tests.hub.fakes import HUB, heard

OWN, FIRST, SECOND, THIRD = "node0000", "node0001", "node0002", "node0003"
PEERS = {name: name for name in (FIRST, SECOND, THIRD)}
ROOM = room_group("/", "room")
"""Has members at the second node."""
OTHER = room_group("/", "other")
"""Has members at the first and the third."""
LOCAL = room_group("/", "local")
"""Has members at this node only."""
UNKNOWN = room_group("/", "unknown")


class World:
    """`Targets` of the node `OWN`, which knows the groups of its peers. Time is `now`."""

    def __init__(self) -> None:
        self.now = 100.0
        self.told: list[tuple[str | None, object]] = []
        self.directory = Directory(lambda node, body: self.told.append((node, body)), lambda: None)
        self.targets = Targets(OWN, PEERS, self.directory, lambda: self.now)
        for node, groups in {FIRST: (OTHER,), SECOND: (ROOM,), THIRD: (OTHER,)}.items():
            self.directory.add(node)
            keys = b"".join(hash_of(HUB, group) for group in groups)
            self.take(node, Snapshot(0, True, True, keys))
        self.directory.first(HUB, LOCAL)
        self.told.clear()

    def take(self, node: str, body: Snapshot | Delta | Acknowledged | WantGroups) -> None:
        self.targets.take(Envelope(node, body))

    def of(self, command: Command) -> set[str]:
        found = self.targets.of(command)
        assert len(set(found)) == len(found)
        return set(found)

    def to(self, selection: Selection) -> set[str]:
        return self.of(Send(HUB, selection, b"42[1]"))


ALL = set(PEERS)


@pytest.mark.parametrize(
    ("connection", "nodes"),
    [(f"{OWN}-c1", set()), (f"{SECOND}-c1", {SECOND}), ("nobody00-c1", ALL), ("c1", ALL), ("", ALL)],
    ids=["own", "other", "unknown node", "short id", "empty id"],
)
def test_what_is_for_one_connection_goes_to_the_node_that_its_id_names(
    connection: str, nodes: set[str]
) -> None:
    world, to = World(), Selection(connection=connection)
    assert world.of(SendToConnection(HUB, connection, b"42[1]")) == nodes
    for command in (
        Send(HUB, to, b"42[1]"),
        Invoke(HUB, to, b"42[1]"),
        JoinGroups(HUB, to, (ROOM,)),
        LeaveGroups(HUB, to, None),
        CloseConnections(HUB, to),
        LeaveNamespace(HUB, to, "/"),
        Exists(HUB, to),
    ):
        assert world.of(command) == nodes


@pytest.mark.parametrize(
    ("group", "nodes"),
    [(ROOM, {SECOND}), (OTHER, {FIRST, THIRD}), (LOCAL, set()), (UNKNOWN, ALL)],
    ids=["one node", "two nodes", "only here", "unknown"],
)
def test_what_is_for_a_group_goes_to_the_nodes_with_members(group: str, nodes: set[str]) -> None:
    world, to = World(), Selection(group=group)
    for command in (
        Send(HUB, to, b"42[1]"),
        Invoke(HUB, to, b"42[1]"),
        JoinGroups(HUB, to, (UNKNOWN,)),
        LeaveGroups(HUB, to, (ROOM,)),
        CloseConnections(HUB, to),
        LeaveNamespace(HUB, to, "/"),
        FetchSockets(HUB, to, "/", 1.0, 0),
        Exists(HUB, to),
        ListGroup(HUB, group, 10),
    ):
        assert world.of(command) == nodes


def test_a_filter_with_several_groups_goes_to_the_nodes_with_members_of_any() -> None:
    world = World()
    assert world.to(Selection(filter=Filter(any_of=(ROOM, LOCAL)))) == {SECOND}
    assert world.to(Selection(filter=Filter(any_of=(ROOM, OTHER)))) == ALL
    assert world.to(Selection(filter=Filter(any_of=(ROOM, UNKNOWN)))) == ALL
    assert world.to(Selection(filter=Filter(any_of=(ROOM,), none_of=(OTHER,)))) == {SECOND}


def test_a_group_decides_where_there_is_a_filter_too() -> None:
    selection = Selection(group=ROOM, filter=Filter(none_of=(OTHER,)))
    assert World().to(selection) == {SECOND}


@pytest.mark.parametrize(
    "selection",
    [
        EVERYONE,
        Selection(user="ada"),
        Selection(server="s1"),
        Selection(filter=Filter(none_of=(ROOM,))),
        Selection(filter=compile_filter("startswith(userId, 'u')")),
    ],
    ids=["everyone", "user", "app server", "only exceptions", "expression"],
)
def test_what_is_for_no_group_goes_to_all(selection: Selection) -> None:
    assert World().to(selection) == ALL


def test_what_operators_ask_goes_to_the_node_that_they_name() -> None:
    world = World()
    assert world.of(Inspect("", "hubs")) == ALL
    assert world.of(Inspect("", "hubs", node=SECOND)) == {SECOND}
    assert world.of(Inspect("", "hubs", node=OWN)) == set()
    assert world.of(Inspect("", "hubs", node="node0009")) == set()
    assert world.of(DrainNode("", THIRD)) == {THIRD}


def test_what_is_for_app_servers_goes_to_all() -> None:
    world = World()
    assert world.of(TellServers(HUB, "/", b"[]", "s1", 1.0)) == ALL
    assert world.of(ListServers(HUB)) == ALL


def test_groups_of_another_hub_are_other_groups() -> None:
    world = World()
    assert world.of(Send("elsewhere", Selection(group=ROOM), b"42[1]")) == ALL
    assert world.of(Send(HUB.upper(), Selection(group=ROOM), b"42[1]")) == {SECOND}


def test_a_node_whose_groups_are_not_known_gets_everything() -> None:
    world = World()
    world.directory.gap(FIRST)
    assert world.to(Selection(group=ROOM)) == {FIRST, SECOND}
    assert world.to(Selection(group=LOCAL)) == {FIRST}


def test_deltas_and_snapshots_are_taken_and_answered() -> None:
    world = World()
    world.take(FIRST, Delta(1, hash_of(HUB, ROOM), b""))
    assert world.to(Selection(group=ROOM)) == {FIRST, SECOND}
    assert world.told == [(FIRST, Acknowledged(1))]
    world.take(FIRST, Delta(2, b"", hash_of(HUB, ROOM)))
    assert world.to(Selection(group=ROOM)) == {SECOND}
    world.told.clear()
    world.take(FIRST, WantGroups())
    assert [(node, type(body)) for node, body in world.told] == [
        (FIRST, Acknowledged),
        (None, Delta),
        (FIRST, Snapshot),
    ]
    seen: list[str] = []
    world.directory.when_visible(HUB, (LOCAL,), lambda: seen.append(LOCAL))
    assert seen == []
    for node in PEERS:
        world.take(node, Acknowledged(1))
    assert seen == [LOCAL]


class TestAnswersToAConnect:
    """An app server's answer to a client's CONNECT puts the client into the namespace at its node."""

    GROUP = namespace_group("/chat")

    def world(self) -> World:
        world = World()
        world.take(SECOND, Delta(1, hash_of(HUB, self.GROUP), b""))
        return world

    def to(self, world: World) -> set[str]:
        return world.to(Selection(group=self.GROUP))

    def test_the_node_counts_for_the_namespace_for_some_seconds(self) -> None:
        world = self.world()
        world.targets.passes(FIRST, SendToConnection(HUB, f"{FIRST}-c1", b'40/chat,{"sid":"s"}'))
        assert self.to(world) == {FIRST, SECOND}
        world.now += EXPECT_SECONDS - 0.1
        world.targets.tick(world.now)
        assert self.to(world) == {FIRST, SECOND}
        world.now += 0.1
        world.targets.tick(world.now)
        assert self.to(world) == {SECOND}

    def test_each_answer_counts_from_its_own_time(self) -> None:
        world = self.world()
        for _ in range(2):
            world.targets.passes(FIRST, SendToConnection(HUB, f"{FIRST}-c1", b"40/chat,{}"))
            world.now += 3.0
        world.targets.tick(world.now)
        assert self.to(world) == {FIRST, SECOND}
        world.now += 2.0
        world.targets.tick(world.now)
        assert self.to(world) == {SECOND}

    def test_what_the_node_tells_of_itself_stays(self) -> None:
        world = self.world()
        world.targets.passes(FIRST, SendToConnection(HUB, f"{FIRST}-c1", b"40/chat,{}"))
        world.take(FIRST, Delta(1, hash_of(HUB, self.GROUP), b""))
        world.now += EXPECT_SECONDS
        world.targets.tick(world.now)
        assert self.to(world) == {FIRST, SECOND}

    @pytest.mark.parametrize(
        "payload",
        [
            b"42/chat,[1]",
            b"41/chat,",
            b"44/chat,{}",
            b"4",
            b"",
            b"40/ch\xffat,{}",
            b"40/" + b"x" * 100_000,
            b"40/\x00,{}",
            b"40\xf0",
        ],
        ids=["event", "disconnect", "refusal", "short", "empty", "bad text", "long", "control", "cut"],
    )
    def test_nothing_else_counts(self, payload: bytes) -> None:
        world = self.world()
        world.targets.passes(FIRST, SendToConnection(HUB, f"{FIRST}-c1", payload))
        assert self.to(world) == {SECOND}

    def test_other_messages_do_not_count(self) -> None:
        world = self.world()
        world.targets.passes(FIRST, Send(HUB, EVERYONE, b"40/chat,{}"))
        world.targets.passes(FIRST, Alive("node"))
        assert self.to(world) == {SECOND}


# -- whole nodes on the memory broker -------------------------------------------------------------


def received(nodes: Nodes) -> list[int]:
    """How many messages each node has received."""
    return [router.streams.received for router in nodes.routers]


@pytest.mark.parametrize("count", [2, 4, 8])
@pytest.mark.parametrize("members_at", [0, -1], ids=["members at the first", "members at the last"])
def test_nodes_without_members_of_a_room_receive_nothing_for_it(count: int, members_at: int) -> None:
    nodes = Nodes(count, clients=2, prefix="node000")
    home, sender = members_at % count, 1 if members_at == 0 else 0
    for client in nodes.clients[home]:
        nodes.done(home, JoinGroups(HUB, Selection(connection=client.id), (ROOM,)))
    nodes.settle()
    before = received(nodes)
    for _ in range(5):
        nodes.done(sender, Send(HUB, Selection(group=ROOM), b'42["e"]'))
    nodes.settle()
    grown = [after - first for after, first in zip(received(nodes), before, strict=True)]
    assert grown == [5 if at == home else 0 for at in range(count)]
    assert nodes.heard() == {client.id: [b'42["e"]'] * 5 for client in nodes.clients[home]}


@pytest.mark.parametrize("count", [2, 4, 8])
def test_a_room_with_members_at_the_sender_only_sends_nothing(count: int) -> None:
    nodes = Nodes(count, prefix="node000")
    member = nodes.clients[0][0]
    nodes.done(0, JoinGroups(HUB, Selection(connection=member.id), (ROOM,)))
    nodes.settle()
    nodes.submit(0, Send(HUB, Selection(group=ROOM), b'42["e"]'))
    assert not nodes.network.step()


@pytest.mark.parametrize("count", [4, 8])
def test_asks_and_writes_about_a_room_wait_for_no_other_node_than_the_members(count: int) -> None:
    nodes = Nodes(count, prefix="node000")
    member = nodes.clients[2][0]
    nodes.done(2, JoinGroups(HUB, Selection(connection=member.id), (ROOM,)))
    nodes.settle()
    for other in range(count):
        if other not in (0, 2):
            nodes.network.delay("node0000", f"node000{other}")
    room = Selection(group=ROOM)
    assert nodes.done(0, Exists(HUB, room)).found
    fetched, _ = nodes.ask(0, FetchSockets(HUB, room, "/", 1.0, 0))
    nodes.settle()
    assert fetched.outcome.reached == 1
    assert [row.connection_id for row in nodes.done(0, ListGroup(HUB, ROOM, 10)).members] == [member.id]
    assert nodes.done(0, LeaveGroups(HUB, room, (ROOM,))).reached == 1


@pytest.mark.parametrize("count", [2, 4, 8])
def test_after_the_last_member_has_left_the_room_is_unknown_again(count: int) -> None:
    nodes = Nodes(count, prefix="node000")
    member = nodes.clients[1][0]
    nodes.done(1, JoinGroups(HUB, Selection(connection=member.id), (ROOM,)))
    nodes.done(1, LeaveGroups(HUB, Selection(connection=member.id), (ROOM,)))
    nodes.settle()
    nodes.done(0, Send(HUB, Selection(group=ROOM), b'42["e"]'))
    assert nodes.heard() == {}


@pytest.mark.parametrize("count", [2, 3])
def test_a_client_is_told_that_it_is_connected_once_all_nodes_know_its_namespace(count: int) -> None:
    nodes = Nodes(count, prefix="node000")
    last = f"node000{count - 1}"
    nodes.network.delay("node0000", last)
    world, client = nodes.worlds[0], nodes.clients[0][0]
    world.enter(client, "/new")
    other = nodes.worlds[0].client("/")
    nodes.settle()
    emit = Send(HUB, Selection(group=namespace_group("/")), b'42["e"]')
    nodes.done(0, emit)
    assert nodes.heard().get(client.id) is None
    assert heard(other)[-1:] == [b'42["e"]'], "a namespace that is known waits for nobody"
    nodes.network.release("node0000", last)
    nodes.settle()
    assert [packet[:4] for packet in heard(client)] == [b"40/n", b'42["']
    nodes.done(count - 1, Send(HUB, Selection(group=namespace_group("/new")), b'42/new,["e"]'))
    assert heard(client)[-1] == b'42/new,["e"]'
