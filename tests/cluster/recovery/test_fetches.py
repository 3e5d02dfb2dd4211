"""What may go wrong while a socket moves. That nothing is lost when all goes well is in `test_part`."""

from __future__ import annotations

import pytest

from moorage.cluster.recovery.fetches import MAX_ROUNDS, SECONDS
from moorage.hub.recovery.causes import FOREIGN, LOST, OFFSET, UNKNOWN, UNREACHED, UNSAVED
from moorage.wire.cluster.messages import Envelope
from moorage.wire.commands import JoinGroups, LeaveGroups, Selection, Send
from moorage.wire.groups import room_group
from moorage.wire.recovery.moving import Denied, More, Offered, Pushed, Taken
from tests.cluster.recovery.stage import Several
from tests.hub.fakes import HUB
from tests.hub.recovery.stage import ROOT, Returning, room


@pytest.fixture
def several() -> Several:
    return Several(3)


def parked(several: Several, *rooms: str) -> Returning:
    """A client that node 0 has lost, and that has missed an event."""
    client = several.client(0, *rooms)
    several.nodes.done(0, Send(HUB, ROOT, b'42["e",1]'))
    client.lose()
    several.nodes.done(0, Send(HUB, ROOT, b'42["e",2]'))
    return client


def is_fresh(several: Several, client: Returning, at: int) -> bool:
    """True if the app server got the client's CONNECT as always."""
    return several.stages[at].link.packets(client.connection) == [client.asked]


def test_a_pid_of_a_stranger_costs_no_message(several: Several) -> None:
    client = parked(several)
    client.pid["/"] = "stranger-1"
    before = len(several.sent)
    several.come_back(client, 1, answer=False)
    assert is_fresh(several, client, 1)
    assert several.refused(1) == {UNKNOWN: 1}
    assert several.sent[before:] == []


def test_a_pid_that_nobody_has_any_more(several: Several) -> None:
    client = parked(several)
    for pid, at in (("node-000-x", 1), ("node-001-x", 1)):
        client.pid["/"] = pid
        several.come_back(client, at, answer=False)
        assert is_fresh(several, client, at)
    assert several.refused(1) == {UNKNOWN: 2}


def test_somebody_elses_socket_and_a_wrong_offset(several: Several) -> None:
    client = parked(several)
    several.come_back(client, 1, answer=False, user_id="other")
    assert is_fresh(several, client, 1)
    several.come_back(client, 2, answer=False, offset="log.1")
    assert is_fresh(several, client, 2)
    assert (several.refused(1), several.refused(2)) == ({FOREIGN: 1}, {OFFSET: 1})
    several.come_back(client, 1)
    assert [event[2] for event in client.events] == [2]


def test_the_data_of_the_socket_is_awaited(several: Several) -> None:
    client = several.client(0)
    several.nodes.done(0, Send(HUB, ROOT, b'42["e",1]'))
    client.read()
    client.stage.world.node.claims.counts.refused.clear()
    first = client.connection
    several.come_back(client, 1, answer=False)
    assert not several.stages[1].returns.sockets
    assert not is_fresh(several, client, 1)
    assert first.id not in several.nodes.worlds[0].hub().directory.connections
    client.stage = several.stages[0]
    client.save(b"{}")
    several.nodes.settle()
    assert len(several.stages[1].returns.sockets) == 1
    client.stage = several.stages[1]
    client.answer()
    several.come_back(client, 2, answer=False)
    several.tick(6.0)
    assert is_fresh(several, client, 2)
    assert several.refused(2) == {UNSAVED: 1}


def test_two_connections_with_one_pid_at_two_nodes(several: Several) -> None:
    client = parked(several)
    several.nodes.network.delay("node-000", "node-001")
    several.come_back(client, 1, answer=False)
    early, asked = client.connection, client.asked
    several.come_back(client, 2, answer=False)
    several.nodes.network.release("node-000", "node-001")
    several.nodes.settle()
    client.answer()
    assert [event[2] for event in client.events] == [2]
    closes = several.stages[1].world.observer.closes
    assert [close[:2] for close in closes] == [(early.id, "returned")]
    assert asked not in several.stages[1].link.packets(early)
    assert several.refused(1) == {}


def test_the_later_of_two_connections_at_two_nodes_while_the_data_is_awaited(several: Several) -> None:
    client = several.client(0)
    client.lose(save=None)
    several.come_back(client, 1, answer=False)
    early = client.connection
    several.come_back(client, 2, answer=False)
    closes = several.stages[1].world.observer.closes
    assert [close[:2] for close in closes] == [(early.id, "returned")], "at once"
    client.stage = several.stages[0]
    client.save(b"{}")
    several.nodes.settle()
    assert [socket.sid for _, socket in several.stages[2].returns.sockets] == [client.sid["/"]]
    assert several.refused(1) == several.refused(2) == {}


def test_a_question_for_a_socket_that_is_on_its_way_waits() -> None:
    several = Several(4)
    several.client(1)
    client = parked(several)
    network = several.nodes.network
    network.delay("node-002", "node-001")
    several.come_back(client, 1, answer=False)
    early = client.connection
    assert several.counts(0).moved == 1
    several.come_back(client, 3, answer=False)
    assert not several.stages[3].returns.sockets
    network.release("node-002", "node-001")
    several.nodes.settle()
    assert [connection for connection, _ in several.stages[3].returns.sockets] == [client.connection.id]
    client.answer()
    assert [event[2] for event in client.events] == [2]
    assert early.id not in several.nodes.worlds[1].hub().directory.connections


def test_a_node_that_is_gone(several: Several) -> None:
    client = parked(several)
    for router in several.nodes.routers[1:]:
        router.remove("node-000")
    several.come_back(client, 1, answer=False)
    assert is_fresh(several, client, 1)
    assert several.refused(1) == {LOST: 1}


@pytest.mark.parametrize("held", ["ask", "take"])
def test_a_node_that_goes_meanwhile(several: Several, held: str) -> None:
    client = parked(several)
    network = several.nodes.network
    network.delay(*(("node-001", "node-000") if held == "ask" else ("node-000", "node-002")))
    several.come_back(client, 1, answer=False)
    for router in several.nodes.routers[1:]:
        router.remove("node-000")
    several.nodes.settle()
    assert is_fresh(several, client, 1)
    assert several.refused(1) == {LOST: 1}
    assert not several.nodes.worlds[1].hub().recovery.away  # type: ignore[union-attr]


def test_a_node_that_is_silent(several: Several) -> None:
    client = parked(several)
    several.nodes.network.delay("node-000", "node-001")
    several.come_back(client, 1, answer=False)
    several.tick(SECONDS + 0.5)
    assert is_fresh(several, client, 1)
    assert several.refused(1) == {UNREACHED: 1}


def test_a_third_node_that_is_silent(several: Several) -> None:
    client = parked(several)
    several.nodes.network.delay("node-002", "node-000")
    several.come_back(client, 1, answer=False)
    several.tick(4.0)
    assert is_fresh(several, client, 1)
    assert several.refused(1) == {UNREACHED: 1}
    # Nobody has taken it, so it can still come back.
    several.nodes.network.release("node-002", "node-000")
    several.nodes.settle()
    several.come_back(client, 0)
    assert [event[2] for event in client.events] == [2]


def test_rooms_that_change_meanwhile(several: Several) -> None:
    client = parked(several, "a")
    network = several.nodes.network
    network.delay("node-001", "node-000")
    several.come_back(client, 1, answer=False)
    network.step()
    own = Selection(group=room_group("/", client.sid["/"]))
    network.release("node-001", "node-000")
    for _ in range(6):
        network.step()
    for at in (0, 2):
        world = several.nodes.worlds[at]
        world.node.submit(LeaveGroups(HUB, own, (room_group("/", "a"),)), lambda about, outcome: None)
        world.node.submit(JoinGroups(HUB, own, (room_group("/", "b"),)), lambda about, outcome: None)
    several.nodes.settle()
    ((_, socket),) = several.stages[1].returns.sockets
    assert socket.rooms == ("b",)
    client.answer()
    several.nodes.done(2, Send(HUB, room("b"), b'42["e",3]'))
    client.read()
    assert [event[2] for event in client.events] == [2, 3]


def test_a_socket_is_pushed_to_another_node(several: Several) -> None:
    client = parked(several, "a")
    several.nodes.routers[0].recovery.fetches.push(HUB, client.pid["/"], "node-002")
    several.nodes.settle()
    several.nodes.done(0, Send(HUB, room("a"), b'42["e",3]'))
    several.nodes.routers[0].recovery.fetches.push(HUB, client.pid["/"], "node-001")
    several.nodes.settle()
    for router in several.nodes.routers[1:]:
        router.remove("node-000")
    several.come_back(client, 1)
    assert [event[2] for event in client.events] == [2, 3]


def test_messages_that_nobody_waits_for_change_nothing(several: Several) -> None:
    client = parked(several)
    take = several.nodes.routers[1].recovery.fetches.take
    bodies = (
        Offered(9, "pid", "/", "sid", "c", None, "s", 1.0, (), b"", 1),
        Denied(9, UNKNOWN),
        More(9, ()),
        Taken(9, (), (), (), False, {}, ()),
        Pushed(HUB, "stranger-1"),
    )
    for body in bodies:
        take(Envelope("node-000", body))
    several.nodes.settle()
    several.come_back(client, 1)
    assert [event[2] for event in client.events] == [2]
    assert not several.nodes.worlds[1].faults


def test_a_socket_whose_rooms_never_settle(several: Several) -> None:
    client = parked(several)
    several.nodes.network.delay("node-000", "node-001")
    several.come_back(client, 1, answer=False)
    take = several.nodes.routers[1].recovery.fetches.take
    take(
        Envelope("node-000", Offered(1, client.pid["/"], "/", "sid", "c", None, "s", 1.0, ("0~Lw~",), b"", 1))
    )
    take(Envelope("node-002", Denied(1, UNKNOWN)))
    for _ in range(MAX_ROUNDS + 1):
        several.nodes.settle()
        take(Envelope("node-000", More(1, ("0~Lw~YQ",))))
    assert is_fresh(several, client, 1)
    assert several.refused(1) == {UNREACHED: 1}


@pytest.mark.parametrize("heartbeats", [0, 6])
def test_a_client_without_new_events_moves_on(several: Several, heartbeats: int) -> None:
    """Its offset is one of the first node, even when the second one has forgotten what came from there."""
    client = several.client(0)
    several.nodes.submit(0, Send(HUB, ROOT, b'42["a",1]'))
    several.nodes.settle()
    client.lose()
    several.come_back(client, 1)
    for _ in range(heartbeats):
        several.tick(10.0)
        several.nodes.worlds[1].node.receive(client.connection, b"3")
    client.lose()
    several.come_back(client, 2)
    assert several.refused(2) == {}
    several.nodes.submit(0, Send(HUB, ROOT, b'42["a",2]'))
    several.nodes.settle()
    client.read()
    assert [event[2] for event in client.events] == [2]
    assert client.offset
