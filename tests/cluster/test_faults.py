"""A network that delays, loses and divides: asks end at their deadline and name who is missing, nothing is
delivered twice, and afterwards everything works again."""

from __future__ import annotations

import pytest

from moorage.cluster.arrivals import MAX_WAITING
from moorage.cluster.requests import GRACE, OWN_WORK, WAIT
from moorage.cluster.streams.streams import FORGED, GARBAGE, OVERFLOW, OWN_ID, STRANGER
from moorage.wire.cluster import streams as wire
from moorage.wire.cluster.messages import Answer, Envelope, encode
from moorage.wire.cluster.streams import ALL, BEAT, DIRECT
from moorage.wire.commands import (
    EVERYONE,
    CloseConnections,
    Command,
    Exists,
    FetchSockets,
    Invoke,
    JoinGroups,
    ListServers,
    Selection,
    Send,
    SendToConnection,
    TellServers,
)
from moorage.wire.filters.compiled import Filter
from moorage.wire.moorage.rows import Chunk
from tests.cluster.nodes import Nodes, Reply
from tests.hub.fakes import HUB, heard

COUNTS = [2, 3, pytest.param(8, marks=pytest.mark.slow)]
EVENT = b'42["e"]'
WAITING: list[tuple[Command, float]] = [
    (JoinGroups(HUB, EVERYONE, ("g",)), WAIT),
    (CloseConnections(HUB, EVERYONE), WAIT),
    (Exists(HUB, EVERYONE), WAIT),
    (ListServers(HUB), WAIT),
    (Invoke(HUB, EVERYONE, EVENT, 3.0), 3.0),
    (FetchSockets(HUB, EVERYONE, "/", 3.0, 10**12, "s0"), 3.0),
    (TellServers(HUB, "/", EVENT, "s0", 3.0), 3.0),
]
"""Commands that wait for other nodes, and for how long."""

every_wait = pytest.mark.parametrize(
    ("command", "seconds"), WAITING, ids=[type(command).__name__ for command, _ in WAITING]
)


@pytest.mark.parametrize("count", COUNTS)
@every_wait
def test_a_node_that_is_cut_off_is_named_at_the_deadline(
    count: int, command: Command, seconds: float
) -> None:
    nodes = Nodes(count)
    nodes.network.partition({"n1"}, {f"n{at}" for at in range(count) if at != 1})
    reply, _ = nodes.ask(0, command)
    nodes.settle()
    nodes.later(seconds + GRACE - 0.1)
    nodes.settle()
    assert reply.all == []
    nodes.later(0.1)
    nodes.settle()
    missing = reply.outcome.missing
    # No node that has let a client join knows whether node 1 knows.
    assert "node 1" in missing if isinstance(command, JoinGroups) else missing == ("node 1",)
    nodes.later(1000.0)
    nodes.settle()
    assert len(reply.all) == 1


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("command", [command for command, seconds in WAITING if seconds == 3.0])
def test_answers_end_at_the_deadline_too(count: int, command: Command) -> None:
    nodes = Nodes(count)
    nodes.network.partition({"n1"}, {f"n{at}" for at in range(count) if at != 1})
    _, answers = nodes.ask(0, command)
    nodes.settle()
    nodes.later(3.0)
    nodes.settle()
    ends = [answers.finished]
    nodes.later(GRACE)
    nodes.settle()
    assert [*ends, answers.finished] == [0, 1]
    assert "node 1" in answers.missing
    own = {"node 1", *(f"s{at}" for at in range(count)), *(f"n{at}-c0001/" for at in range(count))}
    assert set(answers.missing) <= own
    assert len(set(answers.missing)) == len(answers.missing)


@every_wait
def test_an_answer_that_is_lost_makes_its_node_missing(command: Command, seconds: float) -> None:
    nodes = Nodes(3)
    nodes.network.lose("n2", "n0", 100)
    reply, _ = nodes.ask(0, command)
    nodes.settle()
    nodes.later(seconds + GRACE)
    assert reply.outcome.missing == ("node 2",)


@every_wait
def test_an_answer_that_is_late_changes_nothing(command: Command, seconds: float) -> None:
    nodes = Nodes(3)
    nodes.network.delay("n1", "n0")
    reply, answers = nodes.ask(0, command)
    nodes.settle()
    nodes.later(seconds + GRACE)
    nodes.settle()
    (outcome,) = reply.all
    finished, payloads = answers.finished, list(answers.payloads)
    nodes.network.release("n1", "n0")
    nodes.settle()
    assert reply.all == [outcome]
    assert (answers.finished, answers.payloads) == (finished, payloads)


def test_a_node_that_is_taken_off_the_list_is_missing_at_once() -> None:
    nodes = Nodes(3)
    nodes.network.partition({"n1"}, {"n0", "n2"})
    reply, answers = nodes.ask(0, Invoke(HUB, EVERYONE, EVENT, 3.0))
    nodes.settle()
    nodes.routers[0].remove("n1")
    assert reply.outcome.missing == ("node 1",)
    assert not answers.finished
    nodes.later(3.0)
    nodes.settle()
    assert sorted(answers.missing) == ["n0-c0001/", "n2-c0001/", "node 1"]
    assert nodes.done(0, Exists(HUB, EVERYONE)).missing == ()


def test_without_other_nodes_everything_is_answered_at_once() -> None:
    nodes = Nodes(2)
    nodes.routers[0].remove("n1")
    for command, _ in WAITING:
        reply, _ = nodes.ask(0, command)
        nodes.worlds[0].settle()
        assert reply.outcome.missing == ()


@pytest.mark.parametrize("count", COUNTS)
def test_nothing_is_delivered_twice_whatever_is_delayed(count: int) -> None:
    nodes = Nodes(count)
    expected: dict[str, list[bytes]] = {client.id: [] for client in nodes.everyone}
    for number in range(20):
        sender = number % count
        pair = (f"n{sender}", f"n{(sender + 1) % count}")
        (nodes.network.delay if number % 4 < 2 else nodes.network.release)(*pair)
        packet = b'42["%d"]' % number
        if number % 2:
            nodes.submit(sender, Send(HUB, EVERYONE, packet))
            for packets in expected.values():
                packets.append(packet)
        else:
            client = nodes.clients[(sender + 1) % count][0]
            nodes.submit(sender, SendToConnection(HUB, client.id, packet))
            expected[client.id].append(packet)
        nodes.settle()
    for sender in range(count):
        nodes.network.release(f"n{sender}", f"n{(sender + 1) % count}")
    nodes.settle()
    assert {client.id: sorted(heard(client)) for client in nodes.everyone} == {
        name: sorted(packets) for name, packets in expected.items()
    }


@pytest.mark.parametrize("count", COUNTS)
def test_a_partition_loses_casts_and_both_sides_go_on(count: int) -> None:
    nodes = Nodes(count)
    nodes.network.partition({"n0"}, {f"n{at}" for at in range(1, count)})
    for at in range(count):
        nodes.submit(at, Send(HUB, EVERYONE, b'42["%d"]' % at))
    nodes.settle()
    assert heard(nodes.clients[0][0]) == [b'42["0"]']
    for at in range(1, count):
        assert sorted(heard(nodes.clients[at][0])) == [b'42["%d"]' % other for other in range(1, count)]
    nodes.network.heal()
    nodes.submit(0, Send(HUB, EVERYONE, b'42["healed"]'))
    nodes.settle()
    assert all(heard(client)[-1:] == [b'42["healed"]'] for client in nodes.everyone)
    assert [heard(client).count(b'42["healed"]') for client in nodes.everyone] == [1] * count
    assert nodes.done(0, Exists(HUB, EVERYONE)).missing == ()


def test_a_message_that_is_none_is_left_out() -> None:
    nodes = Nodes(2)
    stranger = nodes.network.broker("n9")
    stranger.start(lambda message: None)
    for message in (b"", b"\xc1", b"\x92\xa2n9\x92\x0a\xa3app", b"\xff" * 50):
        stranger.send_all(message)
    nodes.settle()
    nodes.done(0, Send(HUB, EVERYONE, EVENT))
    assert all(heard(client) == [EVENT] for client in nodes.everyone)


def test_a_request_whose_own_job_was_dropped_is_given_up_in_the_end() -> None:
    nodes = Nodes(2)
    reply = Reply()
    to = Selection(filter=Filter(any_of=tuple([f"g{number}" for number in range(1_100)])))
    job = nodes.worlds[0].node.submit(Exists(HUB, to), reply, reply)
    assert job is not None
    job.close()  # The link of the app server that asked is gone, and its jobs with it.
    nodes.settle()
    nodes.later(WAIT + GRACE)
    assert reply.all == []
    nodes.later(OWN_WORK)
    assert reply.outcome.missing == ("n0",)


def test_a_command_that_cannot_be_sent_is_refused_once() -> None:
    nodes = Nodes(2)
    reply = nodes.submit(0, JoinGroups(HUB, EVERYONE, ("\ud800",)))
    nodes.later(1000.0)
    assert [type(each) for each in reply.all] == [UnicodeEncodeError]


def test_an_answer_of_the_wrong_kind_is_left_out() -> None:
    nodes = Nodes(2)
    for command in (Invoke(HUB, EVERYONE, EVENT, 3.0), FetchSockets(HUB, EVERYONE, "/", 3.0, 0, "s0")):
        _, answers = nodes.ask(0, command)
        number = 1 if isinstance(command, Invoke) else 2
        for payload in (b"43[]", (Chunk(1, b"[{}]"),)):
            nodes.routers[1].streams.send("n0", encode(Envelope("n1", Answer("x", payload), number)))
        while nodes.network.step():
            pass
        assert answers.payloads == ([b"43[]"] if number == 1 else [(Chunk(1, b"[{}]"),)])


def test_a_defect_in_a_reply_does_not_reach_the_broker() -> None:
    nodes = Nodes(2)

    def fails(about: object, outcome: object) -> None:
        raise RuntimeError

    nodes.worlds[0].node.submit(Exists(HUB, EVERYONE), fails)
    nodes.settle()
    ((part, error),) = nodes.worlds[0].faults
    assert part == "router"
    assert isinstance(error, RuntimeError)
    assert nodes.done(0, Exists(HUB, EVERYONE)).missing == ()


def test_only_nodes_of_the_list_may_send_commands_and_only_in_their_own_name() -> None:
    nodes = Nodes(3)
    command = Send(HUB, EVERYONE, EVENT)
    stranger = nodes.network.broker("n9")
    stranger.start(lambda message: None)
    for sender, body in ((b"n9", Envelope("n9", command)), (b"n0", Envelope("n0", command))):
        for kind in (ALL, DIRECT, BEAT):
            stranger.send("n0", wire.encode(wire.prefix(kind, sender), 1, 0, encode(body)))
    # A node of the list that lies about its id, and one that sends a command as a heartbeat.
    nodes.routers[1].streams.send("n0", encode(Envelope("n2", command)))
    nodes.routers[1].streams.send_all(b"garbage")
    nodes.routers[2].streams.beat(encode(Envelope("n2", command)))
    nodes.settle()
    assert nodes.heard() == {}
    found = nodes.routers[0].streams.bad
    assert (found[STRANGER], found[OWN_ID], found[FORGED], found[GARBAGE]) == (2, 3, 1, 1)
    nodes.done(0, command)
    assert all(heard(client) == [EVENT] for client in nodes.everyone)


def test_nodes_do_not_answer_each_other_for_ever_after_a_forged_number() -> None:
    nodes = Nodes(2)
    stranger = nodes.network.broker("n9")
    stranger.start(lambda message: None)
    stranger.send("n1", wire.encode(wire.prefix(ALL, b"n0"), 2**31, 0, EVENT))
    nodes.settle()
    for _ in range(20):
        nodes.later(0.25)
        nodes.settle()
    # The node does not wait for what is missing before the forged one any more. So each message is late.
    nodes.submit(0, SendToConnection(HUB, nodes.clients[1][0].id, EVENT))
    assert sum(1 for _ in range(1_000) if nodes.network.step()) < 100


def test_a_node_that_sends_more_than_another_can_carry_out_is_a_gap() -> None:
    nodes = Nodes(2, 300)
    streams = nodes.routers[0].streams
    many = tuple(f"g{number}" for number in range(20))
    nodes.submit(1, JoinGroups(HUB, EVERYONE, many))
    event = b'42["%b"]' % (b"x" * 1_000_000)
    for _ in range(MAX_WAITING // len(event) + 3):
        nodes.submit(1, Send(HUB, EVERYONE, event))
    nodes.worlds[1].settle()
    nodes.network.run()
    assert (streams.gaps, streams.bad[OVERFLOW]) == (1, 3)
    nodes.settle()
    assert nodes.done(1, Exists(HUB, EVERYONE)).found
    assert nodes.done(1, Send(HUB, EVERYONE, EVENT)).found
    assert heard(nodes.clients[0][0])[-1] == EVENT
