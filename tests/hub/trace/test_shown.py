"""What is shown of what passed."""

from __future__ import annotations

import pytest

from moorage.wire.commands import EVERYONE
from moorage.wire.trace.seen import Packet
from tests.hub.trace.traced import Traced


@pytest.fixture
def world() -> Traced:
    made = Traced()
    made.server()
    return made


def test_payloads(world: Traced) -> None:
    client = world.client("/", user_id="ada")
    world.watch("plain", user="ada")
    world.watch("full", user="ada", payload=True)
    world.watch("too", user="ada", payload=True)
    world.node.receive(client, b'42["a",{"b":1}]')
    world.send(client, b"2")
    world.enter(client, "/n")
    (plain, *_) = world.seen("plain")
    full = world.seen("full")
    assert world.seen("too") == full
    assert isinstance(plain, Packet)
    assert plain.payload is None
    payloads = [each.payload for each in full if isinstance(each, Packet)]
    assert payloads == ['["a",{"b":1}]', None, None, None], "a CONNECT holds credentials"


def test_sizes_of_binary_events(world: Traced) -> None:
    client = world.client("/")
    world.watch(connection=client.id)
    text = b'451-["up",{"_placeholder":true,"num":0}]'
    world.node.receive(client, text)
    world.node.receive_binary(client, bytes(1_000))
    world.emit(EVERYONE, text + b"\x1ebAQID")
    for packet, size in zip(world.seen(), (1_000, 3), strict=True):
        assert isinstance(packet, Packet)
        assert (packet.attachments, packet.size) == (1, len(text) + size)


def test_a_long_payload(world: Traced) -> None:
    client = world.client("/")
    world.watch(connection=client.id)
    world.send(client, b"\x1e".join([b'42["a"]'] * 150))
    world.tracer.tick()
    taken = world.tracer.take("w")
    assert (len(taken.events), taken.dropped) == (100, 50)
