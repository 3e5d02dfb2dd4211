"""Emits to watched rooms."""

from __future__ import annotations

import pytest

from moorage.hub.trace.watch import RATE
from moorage.wire.commands import Invoke, Selection, Send
from moorage.wire.filters.compiled import compile_filter
from moorage.wire.groups import namespace_group, room_group
from moorage.wire.trace.seen import Packet
from tests.hub.fakes import HUB, RecordingAnswers, heard
from tests.hub.trace.traced import Traced

ROOM = room_group("/", "r")


@pytest.fixture
def world() -> Traced:
    made = Traced()
    made.server()
    return made


def test_an_emit_is_seen_once(world: Traced) -> None:
    clients = [world.client("/") for _ in range(3)]
    for client in clients:
        world.join(client, "r")
    outside = world.client("/")
    server = world.hub().servers.get("s1")
    assert server is not None
    server.instance = "i"
    world.watch(room="r")
    world.emit(Selection(group=ROOM), b'42["news",1]')
    world.emit(Selection(filter=compile_filter("'" + ROOM + "' in groups")), b'42["filtered"]')
    world.emit(Selection(group=namespace_group("/")), b'42["everybody"]')
    world.emit(Selection(connection=outside.id), b'42["one"]')
    first, second = world.seen()
    assert isinstance(first, Packet)
    assert isinstance(second, Packet)
    assert (first.direction, first.event, first.recipients, first.connection) == ("out", "news", 3, "")
    assert (first.app_server, first.ack_ms) == ("", None)
    assert (second.event, second.recipients) == ("filtered", 3)
    world.settle()
    assert heard(clients[0]) == [b'42["news",1]', b'42["filtered"]', b'42["everybody"]']


def test_the_app_server_of_an_emit(world: Traced) -> None:
    server = world.hub().servers.get("s1")
    assert server is not None
    server.instance = "i"
    world.watch(room="r", payload=True)
    for source in ("i", "another"):
        world.execute(Send(HUB, Selection(group=ROOM), b'42["news"]', source=source, number=1))
    found = [
        (each.app_server, each.recipients, each.payload) for each in world.seen() if isinstance(each, Packet)
    ]
    assert found == [("s1", 0, '["news"]'), ("", 0, '["news"]')]


def test_an_emit_with_acks_and_a_large_one(world: Traced) -> None:
    clients = [world.client("/") for _ in range(5_001)]
    for client in clients:
        world.join(client, "r")
    world.watch(room="r")
    world.execute(Invoke(HUB, Selection(group=ROOM), b'42["ask"]'), RecordingAnswers())
    world.emit(Selection(group=ROOM), b'42["large"]')
    found = [(each.event, each.recipients) for each in world.seen() if isinstance(each, Packet)]
    assert found == [("ask", 5_001), ("large", 5_001)]
    assert world.tracer.take("w").limited


def test_an_emit_in_another_hub(world: Traced) -> None:
    world.server("s1", "other")
    world.watch(room="r", hub="other")
    world.emit(Selection(group=ROOM), b'42["here"]')
    world.emit(Selection(group=ROOM), b'42["there"]', hub="other")
    assert world.short() == [("out", "event", "there")]


def test_too_many_emits(world: Traced) -> None:
    world.watch(room="r")
    for _ in range(int(RATE.burst) + 1):
        world.emit(Selection(group=ROOM), b'42["news"]')
    world.tracer.tick()
    world.settle()
    taken = world.tracer.take("w")
    assert (len(taken.events), taken.dropped) == (RATE.burst, 1)
