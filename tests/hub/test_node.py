"""`Node.submit`: the replies, and the messages that leave the node."""

from __future__ import annotations

import pytest

from moorage.hub.hub import Connection
from moorage.hub.settings import Limits
from moorage.wire.commands import (
    DONE,
    EVERYONE,
    NOT_FOUND,
    CloseConnections,
    Exists,
    Invoke,
    JoinGroups,
    LeaveGroups,
    ListServers,
    Outcome,
    Selection,
    Send,
    SendToConnection,
    Server,
)
from moorage.wire.errors import PeerError
from moorage.wire.groups import room_group
from tests.hub.fakes import HUB, RecordingAnswers, RecordingCluster, World, heard


def joined(world: World, client: Connection, *rooms: str) -> list[Outcome]:
    groups = tuple(room_group("/", room) for room in rooms)
    return world.submit(JoinGroups(HUB, Selection(connection=client.id), groups))


def test_alone_every_command_is_replied_to_before_submit_returns() -> None:
    world = World()
    world.server()
    client = world.client("/")
    for command, reached in ((Send(HUB, EVERYONE, b"42[1]"), 1), (Exists(HUB, EVERYONE), 0)):
        assert world.submit(command) == [Outcome(reached=reached)]
    assert joined(world, client, "a") == [Outcome(reached=1)]
    assert world.submit(ListServers(HUB)) == [Outcome(servers=(Server("s1", "test", True, 1),))]
    assert world.submit(SendToConnection(HUB, "nobody", b"42[1]")) == [NOT_FOUND]


def test_a_refusal_is_a_reply() -> None:
    world = World()
    replies: list[tuple[object, object]] = []
    bad = Send(HUB, EVERYONE, b"1")
    assert world.node.submit(bad, lambda about, outcome: replies.append((about, outcome)), "me") is None
    ((about, error),) = replies
    assert about == "me"
    assert isinstance(error, PeerError)


def test_a_cast_leaves_the_node_after_local_delivery() -> None:
    cluster = RecordingCluster()
    world = World(cluster=cluster)
    world.server()
    client = world.client("/")
    cluster.casts.clear()
    emit, elsewhere = Send(HUB, EVERYONE, b"42[1]"), SendToConnection(HUB, "elsewhere", b"42[1]")
    assert world.submit(emit) == [Outcome(reached=1)]
    assert world.submit(elsewhere) == [DONE]
    assert cluster.casts == [(emit, Outcome(reached=1)), (elsewhere, NOT_FOUND)]
    with pytest.raises(PeerError):
        world.send(client, b"b!")
    assert len(cluster.casts) == 2


def test_a_write_is_replied_to_by_the_cluster() -> None:
    cluster = RecordingCluster()
    world = World(cluster=cluster, limits=Limits(max_groups=4))
    world.server()
    client = world.client("/")
    replies = joined(world, client, "a")
    assert replies == []
    assert [here for _, here in cluster.writes] == [Outcome(reached=1)]
    cluster.replies[0](Outcome(reached=3))
    assert replies == [Outcome(reached=3)]
    with pytest.raises(PeerError):
        joined(world, client, "b", "c")
    assert len(cluster.writes) == 1


def test_an_ask_leaves_first_and_its_replies_are_merged() -> None:
    cluster = RecordingCluster()
    world = World(cluster=cluster)
    world.server()
    world.client("/")
    command = Exists(HUB, EVERYONE)
    assert world.submit(command) == [Outcome(missing=("n2",))]
    assert (cluster.asks, cluster.own) == ([command], [DONE])
    with pytest.raises(PeerError):
        world.submit(Invoke(HUB, EVERYONE, b"1"), RecordingAnswers())
    assert isinstance(cluster.own[1], PeerError)


def test_what_other_nodes_send_is_carried_out_and_goes_no_further() -> None:
    cluster = RecordingCluster()
    world = World(cluster=cluster)
    world.server()
    client = world.client("/")
    cluster.casts.clear()
    assert world.node.carry_out(Send(HUB, EVERYONE, b"42[1]")) == Outcome(reached=1)
    assert world.node.carry_out(JoinGroups(HUB, EVERYONE, ("g",))) == Outcome(reached=1)
    world.settle()
    assert (heard(client), cluster.casts, cluster.writes) == ([b"42[1]"], [], [])


def test_the_first_and_the_last_member_of_a_group_are_reported() -> None:
    cluster = RecordingCluster()
    world = World(cluster=cluster)
    world.server()
    one, two = world.client("/"), world.client("/")
    cluster.groups.clear()
    group = room_group("/", "a")
    for client in (one, two, one):
        joined(world, client, "a")
    assert cluster.groups == [("first", group)]
    world.submit(CloseConnections(HUB, Selection(connection=one.id)))
    assert ("last", group) not in cluster.groups
    world.submit(LeaveGroups(HUB, Selection(connection=two.id), (group,)))
    assert cluster.groups[-1] == ("last", group)
    assert world.hub().directory.rooms.members(group) == frozenset()
