"""The bytes of one emit are built once, shared by all recipients and counted once per recipient."""

from __future__ import annotations

import os

import pytest

from moorage.hub.connections.fanout import Delivery, Encoded, push
from moorage.hub.hub import Connection
from moorage.hub.outbox import SLICE
from moorage.hub.settings import Limits
from moorage.wire import engineio
from moorage.wire.deflate.messages import Packer
from moorage.wire.errors import PeerError
from moorage.wire.reasons import BAD_PACKET
from tests.hub.fakes import World, heard, sink_of


def crowd(count: int, *, polling: int = 0, limits: Limits | None = None) -> tuple[World, list[Connection]]:
    """A number of WebSocket clients and of polling clients."""
    world = World(limits=limits or Limits())
    world.server()
    clients = [world.client() for _ in range(count)]
    return world, clients + [world.client(framed=False) for _ in range(polling)]


def send(world: World, payload: bytes, clients: list[Connection]) -> None:
    """Fan out."""
    Delivery(payload, world.node.flusher).to(clients)


@pytest.mark.parametrize(("payload", "packets"), [(b'42["a"]', 1), (b'451-["a"]\x1ebYWI=', 2)])
def test_packets_are_counted(payload: bytes, packets: int) -> None:
    assert Encoded(payload).packets == packets


def test_frames_are_built_once_and_only_when_needed() -> None:
    broken = Encoded(b"42[]\x1eb!")
    assert broken.payload == b"42[]\x1eb!"
    with pytest.raises(PeerError) as caught:
        _ = broken.frames
    assert caught.value.reason is BAD_PACKET
    encoded = Encoded(b"42[]")
    assert encoded.frames == engineio.text_frame(b"42[]")
    assert encoded.frames is encoded.frames


def test_everybody_gets_the_same_bytes_object() -> None:
    world, clients = crowd(3)
    send(world, b"42[1]", clients)
    world.settle()
    first, *others = [sink_of(client).writes[0] for client in clients]
    assert all(other is first for other in others)


@pytest.mark.parametrize("size", [1, SLICE - 3, SLICE, SLICE + 1, 2 * SLICE + 1])
def test_both_transports_for_any_size(size: int) -> None:
    world, clients = crowd(size, polling=2)
    world.node.flusher.sent_websocket = world.node.flusher.sent_polling = 0
    send(world, b'451-["x"]\x1ebYWI=', clients)
    world.settle()
    assert all(heard(client) == [b'451-["x"]', b"bYWI="] for client in clients)
    assert (world.node.flusher.sent_websocket, world.node.flusher.sent_polling) == (2 * size, 4)


def test_a_partial_large_fan_out_is_counted_partially() -> None:
    world, clients = crowd(3, polling=2)
    world.node.flusher.sent_websocket = world.node.flusher.sent_polling = 0
    Delivery(b"42[1]", world.node.flusher).to(clients, among=10 * SLICE)
    world.settle()
    assert (world.node.flusher.sent_websocket, world.node.flusher.sent_polling) == (3, 2)


def test_only_a_large_fan_out_is_sliced() -> None:
    world, clients = crowd(SLICE)
    send(world, b"42[1]", clients[1:])
    world.tick()
    assert world.scheduled == 0
    send(world, b"42[2]", [*clients, world.client()])
    world.tick()
    assert world.scheduled == 1


@pytest.mark.parametrize("size", [3, SLICE + 3])
def test_a_full_outbox_does_not_stop_others(size: int) -> None:
    world, clients = crowd(size, limits=Limits(outbox_bytes=10, outbox_hard_bytes=20))
    slow = clients[1]
    slow.outbox.ready = False
    push(slow, Encoded(b"42[1]"), world.node.flusher)
    send(world, b'42["more than ten bytes"]', clients)
    assert world.logged == []
    world.settle()
    assert [row[1] for row in world.logged] == ["slow-client"]
    assert all(heard(client) for client in clients if client is not slow)


def test_single_deliveries_are_counted_by_transport() -> None:
    world, (websocket, polling) = crowd(1, polling=1)
    world.node.flusher.sent_websocket = world.node.flusher.sent_polling = 0
    push(websocket, Encoded(b"42[]\x1e42[]"), world.node.flusher)
    push(polling, Encoded(b"42[]"), world.node.flusher)
    assert (world.node.flusher.sent_websocket, world.node.flusher.sent_polling) == (2, 1)


NEWS = b'42["' + b"abc" * 500 + b'"]'


@pytest.mark.parametrize("size", [4, SLICE + 4])
def test_compressed_frames_are_shared_by_those_who_take_them(size: int) -> None:
    world, clients = crowd(size, polling=2)
    for client in clients[1:size:2]:
        client.outbox.packs = True
    flusher = world.node.flusher
    flusher.packer = packer = Packer(1, 1000, 10_000)
    flusher.sent_websocket = flusher.sent_polling = 0
    for payload in (NEWS, b"42[1]", b"4" + bytes(10_000)):
        send(world, payload, clients)
        world.settle()
    packed = packer.frames(NEWS)
    assert packed is not None
    plain = engineio.text_frame(NEWS)
    assert [sink_of(client).writes[0] for client in clients[:size]] == [plain, packed] * (size // 2)
    # Too short, and too long.
    assert all(sink_of(client).writes[1] == engineio.text_frame(b"42[1]") for client in clients[:size])
    assert all(len(sink_of(client).writes[2]) > 10_000 for client in clients[:size])
    assert [sink_of(client).writes[0] for client in clients[size:]] == [NEWS] * 2
    assert packer.count == 2
    assert flusher.saved == size // 2 * (len(plain) - len(packed))
    assert (flusher.sent_websocket, flusher.sent_polling) == (3 * size, 6)


def test_what_does_not_become_shorter_is_sent_as_it_is() -> None:
    world, clients = crowd(2)
    clients[0].outbox.packs = True
    world.node.flusher.packer = Packer(1, 100, 10_000)
    send(world, b"451-[]\x1e" + engineio.encode_binary(os.urandom(300)), clients)
    world.settle()
    assert sink_of(clients[0]).writes == sink_of(clients[1]).writes
    assert world.node.flusher.saved == 0


def test_a_delivery_in_parts_is_compressed_once() -> None:
    world, clients = crowd(6)
    for client in clients:
        client.outbox.packs = True
    world.node.flusher.packer = packer = Packer(1, 100, 10_000)
    delivery = Delivery(NEWS, world.node.flusher)
    assert sum(delivery.to(clients[at : at + 2], among=6) for at in (0, 2, 4)) == 6
    world.settle()
    assert packer.count == 1
    assert all(sink_of(client).writes[0] is sink_of(clients[0]).writes[0] for client in clients)
