"""One watched connection."""

from __future__ import annotations

import pytest

from moorage.hub.trace.tap import MAX_UNACKED
from moorage.wire import reasons
from moorage.wire.commands import EVERYONE, Invoke
from moorage.wire.groups import room_group
from moorage.wire.trace.seen import Packet, State
from tests.hub.fakes import HUB, RecordingAnswers, heard
from tests.hub.trace.traced import Traced, is_plain


@pytest.fixture
def world() -> Traced:
    made = Traced()
    made.server()
    return made


def test_acks(world: Traced) -> None:
    client = world.client("/", "/n")
    world.watch(connection=client.id)
    world.node.receive(client, b'423["ask"]')
    world.send(client, b'423["app asks"]')
    world.now += 0.25
    world.send(client, b"433[1]")
    world.now += 0.25
    world.node.receive(client, b"433[1]")
    world.node.receive(client, b"43/n,3[1]")
    found = [
        (each.direction, each.type, each.ack, each.ack_ms)
        for each in world.seen()
        if isinstance(each, Packet)
    ]
    assert found == [
        ("in", "event", 3, None),
        ("out", "event", 3, None),
        ("out", "ack", 3, 250.0),
        ("in", "ack", 3, 500.0),
        ("in", "ack", 3, None),
    ]


def test_rooms_of_a_connection(world: Traced) -> None:
    client = world.client("/")
    world.watch(connection=client.id)
    world.join(client, "r", "s")
    world.hub().directory.rooms.leave(client, room_group("/", "r"))
    world.node.receive(client, b"41")
    assert world.short() == [
        ("joined", "/", "r"),
        ("joined", "/", "s"),
        ("left", "/", "r"),
        ("in", "disconnect", None),
        ("left", "/"),
    ]


@pytest.mark.parametrize("framed", [True, False])
def test_all_types(framed: bool) -> None:
    world = Traced()
    world.server()
    world.watch(user="ada")
    client = world.client("/", framed=framed, user_id="ada")
    world.node.receive(client, b'451-["up",{"_placeholder":true,"num":0}]')
    world.node.receive_binary(client, b"123")
    world.node.receive(client, b"3")
    world.send(client, b'451-["down",{"_placeholder":true,"num":0}]\x1ebAQID')
    world.send(client, b"2")
    world.node.receive(client, b"41")
    world.node.receive(client, b"1")
    assert world.short() == [
        ("opened",),
        ("in", "connect", None),
        ("joined", "/"),
        ("out", "connect", None),
        ("in", "event", "up"),
        ("in", "pong", None),
        ("out", "event", "down"),
        ("out", "ping", None),
        ("in", "disconnect", None),
        ("left", "/"),
        ("in", "close", None),
        ("closed", "client-closed"),
    ]
    assert is_plain(client)


def test_events_that_nobody_acknowledges(world: Traced) -> None:
    client = world.client("/")
    world.watch(connection=client.id)
    for number in range(MAX_UNACKED + 1):
        world.now += 1
        world.node.receive(client, b'42%d["ask"]' % number)
    world.send(client, b"430[]")
    world.send(client, b"431[]")
    forgotten, known = world.seen()[-2:]
    assert isinstance(forgotten, Packet)
    assert isinstance(known, Packet)
    assert (forgotten.ack_ms, known.ack_ms) == (None, 1000.0 * (MAX_UNACKED - 1))


def test_an_answer_to_the_service(world: Traced) -> None:
    client = world.client("/")
    world.watch(connection=client.id)
    world.execute(Invoke(HUB, EVERYONE, b'42["ask"]'), RecordingAnswers())
    world.settle()
    (asked,) = heard(client)
    world.now += 0.5
    world.node.receive(client, asked.replace(b"42", b"43", 1).replace(b'["ask"]', b"[1]"))
    question, answer = world.seen()
    assert isinstance(question, Packet)
    assert isinstance(answer, Packet)
    assert (question.event, answer.type, answer.ack, answer.ack_ms) == ("ask", "ack", question.ack, 500.0)


def test_the_ids_of_sockets(world: Traced) -> None:
    world.watch(user="ada")
    client = world.client("/", "/n", user_id="ada")
    world.node.receive(client, b'42["early"]')
    world.node.disconnect(client, reasons.TRANSPORT_LOST, who="client")
    seen = world.seen()
    ids = {(type(each).__name__, each.namespace, each.socket) for each in seen if each.namespace}
    assert ids >= {("Packet", "/", f"{client.id}/"), ("State", "/n", f"{client.id}/n")}
    left = [each.socket for each in seen if isinstance(each, State) and each.state == "left"]
    assert left == [f"{client.id}/", f"{client.id}/n"]


def test_an_answer_without_an_id(world: Traced) -> None:
    client = world.client()
    world.watch(connection=client.id)
    world.node.receive(client, b"40")
    world.send(client, b'40{"sid":1}')
    _, answer = world.seen()
    assert (answer.namespace, answer.socket) == ("/", "")
