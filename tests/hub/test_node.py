"""`Node.submit`: the replies, and the messages that leave the node."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from moorage.hub.commands.deliver import PIECE
from moorage.hub.hub import Connection
from moorage.hub.ports import Reply
from moorage.hub.settings import Limits
from moorage.hub.turns import finished
from moorage.wire.commands import (
    DONE,
    EVERYONE,
    NOT_FOUND,
    CloseConnections,
    Command,
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
from moorage.wire.reasons import LINK_OVERFLOW
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
    identified = Send(HUB, EVERYONE, b"42[1]", number=1)
    assert cluster.casts == [(identified, Outcome(reached=1)), (elsewhere, NOT_FOUND)]
    with pytest.raises(PeerError):
        world.send(client, b"b!")
    assert len(cluster.casts) == 2


def test_an_emit_is_ignored_if_nobody_here_takes_note_of_it() -> None:
    world = World()
    world.server()
    node, client = world.node, world.client("/")
    room, other = room_group("/", "r"), room_group("/", "s")
    world.join(client, "r")
    assert not node.ignores(world.hub(), room)
    assert node.ignores(world.hub(), other)
    traced = node.handlers[Send]
    node.handlers[Send] = partial(traced)
    assert not node.ignores(world.hub(), other), "a watched room shows emits that reach nobody"
    node.handlers[Send] = traced
    assert node.ignores(world.hub(), other)


def test_an_emit_has_one_identity_at_all_nodes() -> None:
    cluster = RecordingCluster()
    world = World(cluster=cluster)
    world.node.incarnation = "n1"
    of_app_server = Send(HUB, EVERYONE, b"42[1]", source="instance", number=7)
    numbered_only = Send(HUB, EVERYONE, b"42[1]", number=7)
    for emit in (of_app_server, numbered_only, Send(HUB, EVERYONE, b"42[1]")):
        world.submit(emit)
    sent = [command for command, _ in cluster.casts if isinstance(command, Send)]
    assert [(emit.source, emit.number) for emit in sent] == [("instance", 7), ("n1", 1), ("n1", 2)]


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
    world = World(members=cluster)
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


# -- large work, which `submit` returns as a job

LARGE = b"\x1e".join([b"42[1]"] * (2 * PIECE))


@pytest.mark.parametrize("cluster", [None, RecordingCluster()], ids=["alone", "in a cluster"])
def test_large_work_is_replied_to_at_its_end(cluster: RecordingCluster | None) -> None:
    world = World(cluster=cluster)
    world.server()
    client = world.client("/")
    replies: list[object] = []
    command = SendToConnection(HUB, client.id, LARGE)
    job = world.node.submit(command, lambda about, outcome: replies.append(outcome))
    assert job is not None
    next(job)
    assert replies == []
    finished(job)
    assert replies == [DONE]
    assert cluster is None or cluster.casts[-1] == (command, DONE)
    world.settle()
    assert heard(client) == [b"42[1]"] * (2 * PIECE)


def test_large_work_that_is_refused_is_replied_to_once_and_stays_here() -> None:
    cluster = RecordingCluster()
    world = World(cluster=cluster)
    world.server()
    client = world.client("/")
    cluster.casts.clear()
    replies: list[object] = []
    bad = SendToConnection(HUB, client.id, LARGE + b"\x1eb!")
    job = world.node.submit(bad, lambda about, outcome: replies.append(outcome))
    assert job is not None
    finished(job)
    assert [type(reply) for reply in replies] == [PeerError]
    assert cluster.casts == []


def test_one_client_may_be_sent_to_without_a_search() -> None:
    world = World()
    world.server()
    client = world.client("/")
    assert world.node.send(client, b"42[0]") is None
    job = world.node.send(client, LARGE)
    assert job is not None
    finished(job)
    world.settle()
    assert heard(client) == [b"42[0]"] + [b"42[1]"] * (2 * PIECE)


def test_a_failure_of_the_cluster_is_a_reply() -> None:
    class Failing(RecordingCluster):
        def cast(self, command: Command, here: Outcome) -> None:
            raise PeerError(LINK_OVERFLOW, "casts")

        def write(self, command: Command, here: Outcome, reply: Reply, about: Any) -> None:
            raise PeerError(LINK_OVERFLOW, "writes")

    world = World()
    world.server()
    client = world.client("/")
    world.node.cluster = Failing()
    replies: list[object] = []
    commands = (
        Send(HUB, EVERYONE, b"42[1]"),
        SendToConnection(HUB, client.id, LARGE),
        JoinGroups(HUB, EVERYONE, ("g",)),
    )
    for command in commands:
        job = world.node.submit(command, lambda about, outcome: replies.append(outcome))
        if job is not None:
            finished(job)
    assert [str(error) for error in replies if isinstance(error, PeerError)] == [
        str(PeerError(LINK_OVERFLOW, text)) for text in ("casts", "casts", "writes")
    ]


def test_large_work_is_over_when_it_is_done_or_dropped() -> None:
    world = World(limits=Limits(max_groups=10_000))
    world.server()
    clients = [world.client("/") for _ in range(20)]
    everyone = [room_group("/", f"r{number}") for number in range(1_000)]
    command = JoinGroups(HUB, Selection(user=None), tuple(everyone))
    assert world.node.begun()()
    jobs = [world.node.submit(command, lambda about, outcome: None) for _ in range(2)]
    dropped = world.node.begun()
    assert not dropped()
    done = jobs.pop()
    assert done is not None
    finished(done)
    assert not dropped()
    jobs.clear()
    assert dropped()
    assert len(clients[0].groups) > 1_000
