"""The app server's calls: each is carried out once, and answered whatever it holds."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest

from moorage.edge.settings import LinkSettings
from moorage.hub.hub import Connection
from moorage.hub.ports import Answers, Reply
from moorage.wire.commands import Command, Outcome, Selection, Send, SendToConnection
from moorage.wire.errors import PeerError
from moorage.wire.reasons import TOO_MANY_GROUPS
from tests.edge.azure.rig import FakeTransport, Rig, Sent
from tests.hub.fakes import HUB, RecordingAnswers, RecordingCluster, heard

SEND = "connections/{}/:send?api-version=1"
INVOKE = ":invoke?api-version=1"


def statuses(rig: Rig, transport: FakeTransport) -> list[tuple[int, int]]:
    """AckId and status of each answer since the last look."""
    return [(frame.ack_id, frame.status) for frame in rig.sent(transport) if frame.name == "answer"]


def world() -> tuple[Rig, FakeTransport, Connection]:
    """An app server with one client."""
    rig = Rig()
    transport = rig.open()
    return rig, transport, rig.client(transport)


def in_namespace(rig: Rig, transport: FakeTransport, client: Connection) -> None:
    """The client's socket in the main namespace."""
    rig.say(client, "40")
    rig.call(transport, SEND.format(client.id), b'40{"sid":"s"}')
    rig.sent(transport)


# -- every call gets its answer ---------------------------------------------------------------------------


def test_a_call_is_carried_out_and_answered() -> None:
    rig, transport, client = world()
    ack = rig.call(transport, SEND.format(client.id), b'42["x"]')
    assert statuses(rig, transport) == [(ack, 202)]
    assert heard(client) == [b'42["x"]']


@pytest.mark.parametrize(
    ("method", "path", "content", "status"),
    [
        ("POST", SEND.format("nobody"), b"2", 404),
        ("POST", ":send?api-version=1&filter=" + quote("nonsense("), b"2", 400),
        ("POST", ":send?filter=" + quote("'g' in groups"), b"2", 202),
        ("POST", "groups/none/:send?api-version=1", b"2", 202),
        ("POST", ":addToGroups", b"not json", 415),
        ("DELETE", "groups/g/connections/nobody?api-version=1", None, 204),
        ("PATCH", ":send", b"2", 405),
        ("GET", "unheard/of", None, 404),
        ("POST", ":generateToken?api-version=1", b"", 404),
        ("POST", INVOKE, b'421["has an id"]', 400),
        ("POST", INVOKE, b"40", 400),
        ("POST", INVOKE, b"", 400),
    ],
)
def test_whatever_it_is(method: str, path: str, content: bytes | None, status: int) -> None:
    rig, transport, _ = world()
    ack = rig.call(transport, path, content, method=method)
    assert statuses(rig, transport) == [(ack, status)]


def test_a_call_for_another_url_is_answered() -> None:
    rig, transport, _ = world()
    for url in ("", "/", "https://host", "x" * 100_000, "https://host/api/hubs/%ff/:send"):
        rig.call(transport, "../../" + url)
    assert len(statuses(rig, transport)) == 5


def test_a_call_that_is_too_large_is_answered_and_the_link_stays() -> None:
    rig = Rig(links=LinkSettings(max_frame=1000))
    transport = rig.open()
    client = rig.client(transport)
    ack = rig.call(transport, SEND.format(client.id), b"4" * 1001)
    assert statuses(rig, transport) == [(ack, 413)]
    assert transport.closed == []


class BrokenCluster(RecordingCluster):
    """The way to other nodes has a defect."""

    def cast(self, command: Command, here: Outcome) -> None:
        raise RuntimeError("a defect")


def test_a_defect_of_ours_is_answered_too() -> None:
    rig = Rig(cluster=BrokenCluster())
    transport = rig.open()
    ack = rig.call(transport, ":send?api-version=1", b"2")
    assert statuses(rig, transport) == [(ack, 500)]


def test_a_join_is_answered_when_it_is_in_effect_on_all_nodes() -> None:
    rig, transport, client = world()
    cluster = rig.world.node.cluster = RecordingCluster()
    joins = [
        rig.call(transport, ":addToGroups", _groups(client, "g"), content_type="application/json")
        for _ in range(2)
    ]
    send = rig.call(transport, "groups/g/:send?api-version=1", b'42["x"]')
    assert statuses(rig, transport) == [(send, 202)]
    cluster.replies[1](Outcome(reached=1))
    cluster.replies[0](PeerError(TOO_MANY_GROUPS))
    assert statuses(rig, transport) == [(joins[1], 200), (joins[0], TOO_MANY_GROUPS.http)]


def test_on_other_nodes_only_its_own_clients_take_more_than_events() -> None:
    rig, transport, _ = world()
    cluster = rig.world.node.cluster = RecordingCluster()
    end, event = (rig.call(transport, SEND.format("elsewhere"), packet) for packet in (b"41", b'42["x"]'))
    assert statuses(rig, transport) == [(end, 202), (event, 202)]
    (first, _), (second, _) = cluster.casts
    to = Selection(connection="elsewhere", server="s1")
    assert isinstance(first, Send)
    assert first == Send(HUB, to, b"41", control=True, source=first.source, number=first.number)
    assert second == SendToConnection(HUB, "elsewhere", b'42["x"]')


def test_calls_are_carried_out_in_their_order() -> None:
    rig, transport, client = world()
    rig.call(transport, SEND.format(client.id), b'42["1"]')
    rig.call(transport, ":addToGroups", _groups(client, "g"), content_type="application/json")
    rig.call(transport, "groups/g/:send?api-version=1", b'42["2"]')
    rig.call(transport, "groups/g/connections/" + client.id, None, method="DELETE")
    rig.call(transport, "groups/g/:send?api-version=1", b'42["3"]')
    assert [status for _, status in statuses(rig, transport)] == [202, 200, 202, 204, 202]
    assert heard(client) == [b'42["1"]', b'42["2"]']


def _groups(client: Connection, *groups: str) -> bytes:
    return json.dumps({"groups": groups, "filter": f"connectionId eq '{client.id}'"}).encode()


# -- lost and repeated calls ------------------------------------------------------------------------------


def test_a_call_that_comes_twice_is_carried_out_once() -> None:
    rig, transport, client = world()
    ack = rig.call(transport, SEND.format(client.id), b'42["x"]')
    rig.call(transport, SEND.format(client.id), b'42["x"]', ack_id=ack)
    assert statuses(rig, transport) == [(ack, 202), (ack, 202)]
    assert heard(client) == [b'42["x"]']


def test_answers_are_sent_again_over_a_new_tunnel() -> None:
    rig, transport, client = world()
    ack = rig.call(transport, SEND.format(client.id), b'42["x"]')
    rig.settle()
    rig.lose(transport)
    again = rig.open("t2")
    assert statuses(rig, again) == [(ack, 202)]
    rig.after(11)
    assert statuses(rig, rig.open("t3")) == []


def test_calls_that_never_came_are_answered_with_a_failure() -> None:
    rig, transport, _ = world()
    first = rig.call(transport, ":send?api-version=1", b"2")
    rig.call(transport, ":send?api-version=1", b"2", ack_id=first + 3)
    rig.sent(transport)
    rig.after(3.9)
    assert statuses(rig, transport) == []
    rig.call(transport, ":send?api-version=1", b"2", ack_id=first + 1)
    assert statuses(rig, transport) == [(first + 1, 202)]
    rig.after(0.2)
    assert statuses(rig, transport) == [(first + 2, 503)]
    assert rig.world.metrics.gap_answers == 1


def test_failures_wait_for_a_tunnel() -> None:
    rig, transport, _ = world()
    first = rig.call(transport, ":send?api-version=1", b"2")
    rig.call(transport, ":send?api-version=1", b"2", ack_id=first + 2)
    rig.settle()
    rig.lose(transport)
    rig.after(4.5)
    again = rig.open("t2")
    rig.sent(again)
    rig.after(0)
    assert statuses(rig, again) == [(first + 1, 503)]


# -- streams ----------------------------------------------------------------------------------------------


def stream(rig: Rig, transport: FakeTransport) -> list[tuple[bool, bytes]]:
    """The parts of a streamed answer: does it go on, and what is in it."""
    return [(frame.more, frame.content) for frame in rig.sent(transport) if frame.name == "answer"]


def ack_of(client: Connection) -> int:
    """The ack id that a client was asked for."""
    packet = heard(client)[-1]
    return int(packet[2 : packet.index(b"[")])


def test_an_invoke_without_recipients_ends_at_once() -> None:
    rig, transport, _ = world()
    rig.call(transport, INVOKE + "&filter=" + quote("'none' in groups"), b'42["q"]')
    assert stream(rig, transport) == [(True, b""), (False, b"")]


def test_an_invoke_collects_acks() -> None:
    rig, transport, client = world()
    other = rig.client(transport)
    rig.call(transport, INVOKE, b'42["q"]')
    assert stream(rig, transport) == [(True, b"")]
    rig.say(client, f'43{ack_of(client)}["é"]')
    ((more, line),) = stream(rig, transport)
    assert more
    assert line.endswith(b"\n")
    assert line.isascii(), "the SDK decodes each piece on its own"
    assert json.loads(line) == {"Payload": f'43{ack_of(client)}["é"]'}
    rig.say(other, f'461-{ack_of(other)}[{{"_placeholder":true,"num":0}}]', "bAQID")
    (_, line), end = stream(rig, transport)
    assert json.loads(line)["Payload"].endswith("\x1ebAQID")
    assert end == (False, b"")


def test_an_invoke_ends_at_its_time() -> None:
    rig, transport, _ = world()
    rig.call(transport, INVOKE, b'42["q"]')
    rig.sent(transport)
    rig.world.now += rig.world.links.invoke_timeout + 1
    rig.world.node.tick(rig.world.now)
    assert stream(rig, transport) == [(False, b"")]


def test_an_invoke_that_comes_twice_is_asked_once() -> None:
    rig, transport, client = world()
    ack = rig.call(transport, INVOKE, b'42["q"]')
    rig.call(transport, INVOKE, b'42["q"]', ack_id=ack)
    assert stream(rig, transport) == [(True, b"")]
    rig.world.settle()
    assert len(heard(client)) == 1


def test_a_stream_goes_on_over_another_tunnel() -> None:
    rig, transport, client = world()
    second = rig.open("t2")
    ack = rig.call(transport, INVOKE, b'42["q"]')
    rig.settle()
    rig.lose(transport)
    rig.say(client, f"43{ack_of(client)}[]")
    frames: list[Sent] = rig.sent(second)
    parts = [(f.ack_id, f.more, bool(f.content)) for f in frames if f.name == "answer"]
    assert parts == [(ack, True, False), (ack, True, True), (ack, False, False)], "head, answer, end"


class Forwarding(RecordingCluster):
    """Other nodes that go on answering, because they do not know that the asker has given up."""

    def ask(
        self, command: Command, reply: Reply, about: Any, answers: Answers[Any] | None
    ) -> tuple[Reply, Any, Answers[Any] | None]:
        self.answers = answers
        return reply, about, RecordingAnswers()


@pytest.mark.parametrize("last", [False, True])
def test_what_other_nodes_answer_after_a_stream_was_given_up_is_dropped(last: bool) -> None:
    """The last link is closed in order, or one of two links breaks after it has carried an answer."""
    cluster = Forwarding()
    rig = Rig(cluster=cluster)
    transport = rig.open()
    rig.client(transport)
    second = transport if last else rig.open("t2")
    rig.call(transport, INVOKE, b'42["q"]')
    assert cluster.answers is not None
    cluster.answers.answer("x", b"43[]")
    assert len(stream(rig, transport)) == 2
    if last:
        rig.server.calls.end_streams()
        assert stream(rig, second) == [(False, b"")]
    else:
        rig.lose(transport)
    cluster.answers.answer("y", b"43[]")
    cluster.answers.finish(())
    assert stream(rig, second) == []


def test_a_stream_waits_for_the_next_tunnel() -> None:
    rig, transport, client = world()
    rig.call(transport, INVOKE, b'42["q"]')
    rig.settle()
    rig.lose(transport)
    rig.say(client, f"43{ack_of(client)}[1]")
    again = rig.open("t2")
    rig.settle()
    rig.after(0.1)
    # The answer was held with the client's other packets, or came while no tunnel was open: never lost.
    parts = [more for more, _ in stream(rig, again)]
    assert parts == [True, True, False]


def test_a_stream_that_may_have_lost_an_answer_is_never_ended() -> None:
    """The SDK would take its end for the answers of all."""
    rig, transport, client = world()
    other = rig.client(transport)
    rig.call(transport, INVOKE, b'42["q"]')
    rig.settle()
    rig.say(client, f"43{ack_of(client)}[]")
    rig.lose(transport)
    again = rig.open("t2")
    rig.say(other, f"43{ack_of(other)}[]")
    assert stream(rig, again) == []
    assert rig.world.node.late_answers == 1


def test_streams_of_an_app_server_that_stays_away_are_forgotten() -> None:
    rig, transport, _ = world()
    rig.call(transport, INVOKE, b'42["q"]')
    rig.lose(transport)
    rig.after(rig.world.links.grace + 0.1)
    assert len(rig.hub.invocations) == 0


def test_streams_end_with_the_last_tunnel() -> None:
    rig, transport, client = world()
    rig.call(transport, INVOKE, b'42["q"]')
    rig.sent(transport)
    rig.server.calls.end_streams()
    assert stream(rig, transport) == [(False, b"")]
    rig.say(client, f"43{ack_of(client)}[]")
    assert stream(rig, transport) == []
    assert rig.world.node.late_answers == 1
