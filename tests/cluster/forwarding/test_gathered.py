"""Packets of forwarded clients share messages, and keep their place among all other messages."""

from __future__ import annotations

from collections.abc import Callable

from moorage.cluster.forwarding.gathered import MAX_BYTES, Gathered
from moorage.wire.cluster.forwarding import Forward
from moorage.wire.cluster.messages import Body, Packets
from moorage.wire.commands import Selection, Send, SendToConnection
from tests.cluster.nodes import Nodes
from tests.hub.fakes import HUB, heard


class Sending:
    """Gathers, and records what is sent."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, Body]] = []
        self.later: list[Callable[[], object]] = []
        self.gathered = Gathered(lambda node, body: self.sent.append((node, body)), self.later.append)

    def end_of_turn(self) -> None:
        later, self.later[:] = list(self.later), []
        for call in later:
            call()


def test_packets_of_one_turn_are_one_message_for_each_node_and_direction() -> None:
    sending = Sending()
    for node, hub, connection in (("n1", "", "a"), ("n2", "h", "b"), ("n1", "", "c"), ("n1", "h", "d")):
        sending.gathered.add(node, hub, connection, b"4x")
    assert sending.sent == []
    sending.end_of_turn()
    assert sending.sent == [
        ("n1", Forward((("a", b"4x"), ("c", b"4x")))),
        ("n2", Packets("h", (("b", b"4x"),))),
        ("n1", Packets("h", (("d", b"4x"),))),
    ]
    sending.end_of_turn()
    assert len(sending.sent) == 3


def test_many_packets_are_sent_before_the_end_of_the_turn() -> None:
    sending = Sending()
    for _ in range(4):
        sending.gathered.add("n1", "", "a", b"4" * (MAX_BYTES // 2))
    assert [type(body) for _, body in sending.sent] == [Forward]
    sending.end_of_turn()
    total = sum(len(body.packets) for _, body in sending.sent if isinstance(body, Forward))
    assert total == 4


def test_a_broadcast_does_not_overtake_packets_to_one_client() -> None:
    nodes = Nodes(2, prefix="node-no")
    client = nodes.clients[1][0]
    for number in range(3):
        nodes.submit(0, SendToConnection(HUB, client.id, b'42["one",%d]' % number))
        nodes.submit(0, Send(HUB, Selection(), b'42["all",%d]' % number))
    nodes.submit(0, SendToConnection(HUB, client.id, b'42["last"]'))
    nodes.settle()
    expected = [
        packet for number in range(3) for packet in (b'42["one",%d]' % number, b'42["all",%d]' % number)
    ]
    assert heard(client) == [*expected, b'42["last"]']


def test_a_packet_that_cannot_be_sent_does_not_keep_the_others() -> None:
    nodes = Nodes(2, prefix="node-no")
    client = nodes.clients[1][0]
    for payload in (b'42["a"]', b'42["\xff"]', b'42["b"]'):
        nodes.submit(0, SendToConnection(HUB, client.id, payload))
    nodes.submit(0, SendToConnection("nowhere", client.id, b'42["c"]'))
    nodes.submit(0, SendToConnection(HUB, f"{client.id}-gone", b'42["d"]'))
    nodes.settle()
    assert heard(client) == [b'42["a"]', b'42["b"]']
    assert nodes.worlds[1].faults == []
