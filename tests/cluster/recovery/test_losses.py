"""Messages between nodes that are lost for good: no client keeps a hole in what it got without knowing it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from moorage.cluster.coverage.homes import Via
from moorage.cluster.members.membership import INTERVAL, SILENCE
from moorage.cluster.recovery import losses
from moorage.cluster.recovery.losses import ABSENT_SECONDS, MAX_SENT, Sent
from moorage.cluster.streams import streams
from moorage.wire.commands import EVERYONE, Invoke, JoinGroups, LeaveGroups, Selection, Send, SendToConnection
from moorage.wire.filters.compiled import Filter
from moorage.wire.groups import room_group
from moorage.wire.reasons import EVENTS_LOST, TRANSPORT_LOST
from tests.cluster.members.test_membership import Joined
from tests.hub.fakes import HUB
from tests.hub.recovery.stage import ROOT, Returning, Stage, refused, room

LONG = SILENCE + 2 * INTERVAL


class Divided:
    """Nodes that find each other by their heartbeats, with recovery."""

    def __init__(self, count: int = 2) -> None:
        self.nodes = Joined(count, "node-00")
        self.stages = [Stage(world) for world in self.nodes.worlds]
        self.later(4.0)

    def later(self, seconds: float) -> None:
        """Time passes at all nodes."""
        self.nodes.later(seconds)

    def client(self, at: int, *rooms: str, **handshake: str) -> Returning:
        client = self.stages[at].client("/", **handshake)
        to = Selection(connection=client.connection.id)
        for name in rooms:
            self.nodes.submit(at, JoinGroups(HUB, to, (room_group("/", name),)))
        self.nodes.settle()
        client.read()
        return client

    def emit(self, at: int, to: Selection, number: int) -> None:
        self.nodes.submit(at, Send(HUB, to, b'42["e",%d]' % number))
        self.nodes.settle()

    def part(self, *, apart: Callable[[], object] = lambda: None, seconds: float = LONG) -> None:
        """The first node cannot talk to the others for a while."""
        names = [world.incarnation for world in self.nodes.worlds]
        self.nodes.network.partition({names[0]}, set(names[1:]))
        self.later(seconds / 2)
        apart()
        self.later(seconds / 2)
        self.nodes.network.heal()
        self.later(4.0)

    def incomplete(self, at: int) -> int:
        return self.nodes.worlds[at].node.claims.counts.incomplete


def ended(client: Returning) -> bool:
    closes = client.stage.world.observer.closes
    return (client.connection.id, EVENTS_LOST.name) in [close[:2] for close in closes]


def come_back(client: Returning) -> bool:
    """True if its socket is recovered."""
    client.save(b"{}")
    sockets = client.stage.returns.sockets
    before = len(sockets)
    client.come_back(answer=False)
    return len(sockets) > before


@pytest.mark.parametrize("seconds", [1.0, LONG, 60.0])
def test_a_partition_leaves_no_silent_hole(seconds: float) -> None:
    divided = Divided()
    inside, outside, away = divided.client(1, "a"), divided.client(1, "b"), divided.client(1, "a")
    other_side = divided.client(0, "a")
    away.lose()
    divided.part(seconds=seconds, apart=lambda: divided.emit(0, room("a"), 1))
    if seconds < SILENCE / 2:
        # The streams repair it.
        inside.read()
        assert [event[2] for event in inside.events] == [1]
        assert come_back(away)
        return
    assert ended(inside)
    assert not ended(outside)
    assert not ended(other_side), "its own node sent it"
    assert not come_back(inside)
    assert not come_back(away)
    assert refused(divided.stages[1]) == {"dropped": 2}
    assert divided.incomplete(1) == 2
    outside.lose()
    assert come_back(outside)
    new = divided.client(1, "a")
    divided.emit(0, room("a"), 2)
    divided.later(4.0)
    new.read()
    assert [event[2] for event in new.events] == [2]
    assert not ended(new)


@pytest.mark.parametrize(
    "to",
    [
        EVERYONE,
        ROOT,
        Selection(user="u"),
        Selection(filter=Filter(any_of=(room_group("/", "a"), room_group("/", "x")))),
        Selection(filter=Filter(none_of=(room_group("/", "x"),))),
        Selection(group=room_group("/", "left")),
        Selection(group=room_group("/", "a"), filter=Filter(none_of=(room_group("/", "x"),))),
    ],
)
def test_whom_lost_emits_were_for(to: Selection) -> None:
    divided = Divided()
    client = divided.client(1, "a", "left", user_id="u")
    to_it = Selection(connection=client.connection.id)
    divided.nodes.submit(1, LeaveGroups(HUB, to_it, (room_group("/", "left"),)))
    divided.part(apart=lambda: divided.emit(0, to, 1))
    assert ended(client)


@pytest.mark.parametrize("kind", ["packet", "selection", "ask"])
def test_an_emit_to_one_client_is_lost(kind: str) -> None:
    divided = Divided()
    client, other = divided.client(1), divided.client(1)
    name = client.connection.id
    payload = b'42["e",1]'
    command: Send | SendToConnection | Invoke = {
        "packet": SendToConnection(HUB, name, payload),
        "selection": Send(HUB, Selection(connection=name), payload),
        "ask": Invoke(HUB, Selection(connection=name), payload, 1.0),
    }[kind]  # type: ignore[assignment]
    divided.part(apart=lambda: divided.nodes.submit(0, command))
    assert (ended(client), ended(other)) == (True, False)


def test_nothing_was_sent_and_nobody_ends() -> None:
    divided = Divided(3)
    clients = [divided.client(at, "a") for at in range(3)]
    divided.emit(0, room("a"), 1)
    divided.later(2.0)
    divided.part()
    divided.emit(0, room("a"), 2)
    divided.later(2.0)
    for client in clients:
        client.read()
        assert [event[2] for event in client.events] == [1, 2]
        assert not ended(client)


def test_messages_that_the_sender_no_longer_keeps(monkeypatch: pytest.MonkeyPatch) -> None:
    divided = Divided()
    lucky, unlucky = divided.client(1, "a"), divided.client(1, "b")
    monkeypatch.setattr(streams, "KEEP_BYTES", 1_000)
    divided.later(2.0)
    divided.nodes.network.lose("node-000", "node-001", 40)
    divided.emit(0, room("b"), 1)
    for number in range(60):
        divided.emit(0, room("unknown"), number)
    divided.later(6.0)
    assert divided.nodes.routers[1].streams.gaps
    assert ended(unlucky)
    assert not ended(lucky)


def test_a_client_that_came_during_the_loss() -> None:
    divided = Divided()
    late: list[Returning] = []

    def apart() -> None:
        late.append(divided.client(1))
        divided.emit(0, ROOT, 1)

    divided.part(apart=apart)
    assert ended(late[0])


def test_an_app_server_that_covers_all_nodes_is_not_concerned() -> None:
    divided = Divided()
    client = divided.client(1)
    router = divided.nodes.routers[0]
    command = Send(HUB, ROOT, b'42["e",1]')
    outcome = divided.nodes.worlds[0].node.carry_out(command)
    for covered in (None, ("node-001",)):
        divided.part(apart=lambda: router.cast(command, outcome, Via("x", 1, covered)))  # type: ignore[arg-type]  # noqa: B023
        assert not ended(client)
    divided.part(apart=lambda: router.cast(command, outcome, Via("x", 1, ())))  # type: ignore[arg-type]
    assert ended(client)


def test_a_socket_that_moved_from_the_node_with_the_loss() -> None:
    divided = Divided(3)
    client, stays = divided.client(1, "a"), divided.client(2, "a")
    network = divided.nodes.network
    network.partition({"node-000"}, {"node-001", "node-002"})
    divided.later(LONG)
    divided.emit(0, room("a"), 1)
    client.lose()
    client.stage = divided.stages[2]
    client.come_back(answer=False)
    divided.later(1.0)
    client.answer()
    assert not ended(client)
    network.heal()
    divided.later(6.0)
    assert ended(client)
    assert ended(stays)


def test_what_a_node_cannot_tell_any_more_is_everything(caplog: pytest.LogCaptureFixture) -> None:
    divided = Divided()
    client = divided.client(1)
    divided.part(seconds=ABSENT_SECONDS + 2 * LONG)
    assert divided.nodes.worlds[0].node.cluster is not None
    assert ended(client)
    assert len([one for one in caplog.records if "may have missed" in one.getMessage()]) == 1


def test_a_node_alone_takes_the_shortest_way_again() -> None:
    divided = Divided()
    divided.nodes.network.partition({"node-000"}, {"node-001"})
    divided.later(LONG)
    node = divided.nodes.worlds[0].node
    assert node.cluster is not None, "what the other one misses is noted"
    divided.later(ABSENT_SECONDS)
    assert node.cluster is None


def test_an_answer_that_is_lost_too() -> None:
    divided = Divided()
    client = divided.client(1)
    network = divided.nodes.network
    network.partition({"node-000"}, {"node-001"})
    divided.later(LONG)
    divided.emit(0, ROOT, 1)
    network.heal()
    for _ in range(40):
        divided.later(0.25)
        network.partition({"node-000"}, {"node-001"})
        divided.later(LONG)
        network.heal()
        if ended(client):
            break
    divided.later(10.0)
    assert ended(client)


def test_quiet_and_other_ends_of_a_client_that_has_a_hole() -> None:
    divided = Divided()
    client = divided.client(1)

    def apart() -> None:
        divided.emit(0, ROOT, 1)
        client.lose(TRANSPORT_LOST)
        client.come_back()
        assert client.events == []

    divided.part(apart=apart)
    assert ended(client)
    assert not come_back(client)


def test_an_index_of_many_lanes_forgets_the_oldest() -> None:
    sent = Sent(1.0)
    for number in range(MAX_SENT + 5):
        sent.note(Send(HUB, room(str(number)), b""), 2.0 + number)
    assert sent.floor == 6.0
    assert sent.since(6.0).everything
    assert sent.since(7.0).everything, "too many for one answer"
    assert sent.since(2.0 + MAX_SENT).hubs == {
        HUB: tuple(room(str(MAX_SENT + at)).group for at in (4, 3, 2, 1, 0))
    }
    many = tuple(str(number) for number in range(2_000))
    sent.note(Send(HUB, Selection(filter=Filter(any_of=many)), b""), 1e9)
    assert sent.since(1e9).hubs == {HUB: ("\0",)}
    assert losses.AGAIN > INTERVAL


@pytest.mark.parametrize("known", [True, False], ids=["known", "long ago"])
def test_an_app_server_hands_over_too_late(known: bool) -> None:
    """Sockets of the lost node end where they are now. Others stay, unless it is not known any more."""
    divided = Divided()
    here, fresh = divided.client(0, "a"), divided.client(0, "a")
    moved = divided.client(0, "a")
    moved.lose()
    moved.stage = divided.stages[1]
    moved.come_back()
    divided.nodes.settle()
    moved.answer()
    assert resumed_at(divided, 1, moved)
    late = divided.nodes.routers[0].recovery.losses.late
    late(HUB, [here.pid["/"]] if known else None, {room_group("/", "a")})
    divided.nodes.settle()
    ended = {
        close[0]
        for world in divided.nodes.worlds
        for close in world.observer.closes
        if close[1] == EVENTS_LOST.name
    }
    assert ended == ({here.connection.id} if known else set()) | {moved.connection.id}
    assert fresh.connection.id not in ended


def resumed_at(divided: Divided, at: int, client: Returning) -> bool:
    """True if this node has the socket of a client, with its connection."""
    recovery = divided.nodes.worlds[at].hub().recovery
    track = None if recovery is None else recovery.find(client.pid["/"])
    return track is not None and track.connection is client.connection
