"""Outboxes and their flusher: order, bounds, one write per tick, and fair turns."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moorage.hub.connections.fanout import Delivery, Encoded
from moorage.hub.hub import Connection
from moorage.hub.outbox import BULK_WAITS, SLICE
from moorage.wire import engineio
from moorage.wire.reasons import DRAINING, TRANSPORT_LOST
from tests.hub.fakes import PollingSink, RecordingSink, World, heard, sink_of, unframe


@pytest.fixture
def world() -> World:
    """A node with an app server."""
    world = World()
    world.server()
    return world


def push(connection: Connection, *packets: bytes) -> None:
    """Queue packets one by one."""
    for packet in packets:
        encoded = Encoded(packet)
        connection.outbox.push(encoded.frames if connection.outbox.framed else encoded.payload)


def test_one_write_per_tick_for_any_number_of_emits(world: World) -> None:
    client = world.client()
    push(client, b"42[1]", b"42[2]\x1ebYWI=", b"42[3]")
    assert sink_of(client).writes == []
    world.tick()
    assert len(sink_of(client).writes) == 1
    assert heard(client) == [b"42[1]", b"42[2]", b"bYWI=", b"42[3]"]
    assert client.outbox.size == 0
    world.settle()
    assert len(sink_of(client).writes) == 1


def test_a_flush_is_requested_once_per_tick(world: World) -> None:
    clients = [world.client() for _ in range(3)]
    assert world.scheduled == 0
    for client in clients:
        push(client, b"42[1]", b"42[2]")
    assert world.scheduled == 1


def test_polling_clients_get_payloads(world: World) -> None:
    client = world.client(framed=False)
    sink = sink_of(client)
    assert isinstance(sink, PollingSink)
    push(client, b"42[1]", b"42[2]\x1ebYWI=")
    world.settle()
    assert sink.writes == [b"42[1]\x1e42[2]\x1ebYWI="]
    # Nothing more is sent until the next poll, which gets all of it.
    push(client, b"42[3]", b"42[4]")
    world.settle()
    assert len(sink.writes) == 1
    sink.poll()
    assert sink.writes[1:] == [b"42[3]\x1e42[4]"]


def test_a_blocked_sink_gets_everything_once_it_is_writable(world: World) -> None:
    client = world.client()
    push(client, b"42[1]")
    client.outbox.ready = False
    push(client, b"42[2]")
    world.settle()
    assert heard(client) == []
    client.outbox.unblock()
    assert heard(client) == [b"42[1]", b"42[2]"]
    push(client, b"42[3]")
    world.settle()
    assert heard(client) == [b"42[1]", b"42[2]", b"42[3]"]


PACKETS = st.sampled_from(
    [b"42[1]", b"2", b'451-["x",{}]\x1ebYWI=', b'452-["x"]\x1eb\x1ebAAE=', b'42["\xc3\xa9"]']
)


@given(before=st.lists(PACKETS, max_size=6), after=st.lists(PACKETS, max_size=6), polls=st.integers(0, 6))
def test_an_upgrade_keeps_order_and_content(before: list[bytes], after: list[bytes], polls: int) -> None:
    world = World()
    world.server()
    client = world.client(framed=False)
    polling = sink_of(client)
    assert isinstance(polling, PollingSink)
    for number, packet in enumerate(before):
        push(client, packet)
        world.settle()
        if number < polls:
            polling.poll()
    websocket = RecordingSink()
    client.outbox.attach(websocket, ready=True)
    push(client, *after)
    world.settle()
    expected = [packet for payload in (*before, *after) for packet in payload.split(b"\x1e")]
    assert polling.packets + websocket.packets == expected
    assert client.outbox.size == 0


def test_a_held_outbox_writes_nothing_until_it_is_released_as_often(world: World) -> None:
    client = world.client()
    client.outbox.hold()
    client.outbox.hold()
    push(client, b"42[1]")
    world.settle()
    client.outbox.unblock()
    client.outbox.release()
    assert sink_of(client).writes == []
    push(client, b"42[2]")
    client.outbox.release()
    assert heard(client) == [b"42[1]", b"42[2]"]


def test_a_released_outbox_still_waits_for_its_sink(world: World) -> None:
    client = world.client()
    client.outbox.hold()
    client.outbox.block()
    push(client, b"42[1]")
    client.outbox.release()
    assert sink_of(client).writes == []
    client.outbox.unblock()
    assert heard(client) == [b"42[1]"]


def test_an_outbox_that_is_released_after_the_end_writes_nothing_more(world: World) -> None:
    client = world.client()
    sink = sink_of(client)
    client.outbox.hold()
    push(client, b"42[1]")
    world.node.disconnect(client, DRAINING, who="service")
    assert sink.closed == [(DRAINING, engineio.text_frame(b"42[1]"))]
    client.outbox.release()
    assert sink.writes == []


def test_the_size_of_an_outbox_counts_queued_bytes(world: World) -> None:
    client = world.client(framed=False)
    sink_of(client).write(b"6")  # the poll that was there is answered
    push(client, b"42[1]", b'451-["x"]\x1ebYWJj')
    assert client.outbox.size == 5 + 9 + 1 + 5
    client.outbox.attach(RecordingSink(), ready=False)
    # As frames: two bytes of header each, and binary data without base64.
    assert client.outbox.size == 7 + 11 + 5
    client.outbox.unblock()
    assert client.outbox.size == 0


# -- large queues


def test_the_answer_to_a_poll_holds_a_limited_number_of_packets(world: World) -> None:
    client = world.client(framed=False)
    sink = sink_of(client)
    assert isinstance(sink, PollingSink)
    sink.write(b"6")  # the poll that was there is answered
    sink.writes.clear()
    packets = [b"42[%d]" % number for number in range(60)]
    push(client, *packets[:10], b"\x1e".join(packets[10:50]), *packets[50:])
    for _ in range(4):
        sink.poll()
    assert [len(payload.split(b"\x1e")) for payload in sink.writes] == [16, 16, 16, 12]
    assert sink.packets == packets
    assert client.outbox.size == 0


def test_a_sink_that_fills_up_gets_the_rest_later(world: World) -> None:
    """A large payload is not copied, because other clients share it."""
    client = world.client()
    sink = Bucket(client)
    client.outbox.attach(sink, ready=True)
    large = b"4" * 200_000
    packets = [large, b"42[1]", b"42[2]", large, b"42[3]"]
    push(client, *packets)
    world.settle()
    assert unframe(b"".join(sink.writes)) == packets[:1]
    rounds = 0
    while client.outbox.size:
        client.outbox.unblock()
        rounds += 1
    assert unframe(b"".join(sink.writes)) == packets
    assert rounds == 3, "large, the two small ones together, large, small"


class Bucket(RecordingSink):
    """A sink that is full after each write."""

    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self._box = connection.outbox

    def write(self, data: bytes) -> None:
        super().write(data)
        self._box.ready = False


def test_an_outbox_is_empty_after_the_close(world: World) -> None:
    client = world.client()
    box = client.outbox
    world.node.receive(client, b"1")
    push(client, b"42[1]")
    world.settle()
    assert box.take() == b""
    assert box.sink is None


def test_large_frames_are_sent_in_small_slices(world: World) -> None:
    clients = [world.client() for _ in range(20)]
    Delivery(b"4" * 1_000_000, world.node.flusher).to(clients)
    turns = 0
    while world.scheduled:
        world.tick()
        turns += 1
        assert written(clients) <= 5 * turns
    assert written(clients) == 20


# -- turns


def flood(world: World, count: int) -> list[Connection]:
    """A number of clients, each with its part of one large fan-out."""
    clients = [world.client() for _ in range(count)]
    large(world, clients, b"42[0]")
    return clients


def large(world: World, clients: list[Connection], packet: bytes) -> None:
    """One fan-out that counts as large."""
    frames = Encoded(packet).frames
    world.node.flusher.spread(packet, frames, clients, len(clients), 1)


def written(clients: list[Connection]) -> int:
    """The number of clients that got a packet."""
    return sum(bool(sink_of(client).writes) for client in clients)


def test_a_large_fan_out_is_written_in_slices(world: World) -> None:
    clients = flood(world, 2 * SLICE + 10)
    for expected in (SLICE, 2 * SLICE, 2 * SLICE + 10):
        assert world.scheduled == 1
        world.tick()
        assert written(clients) == expected
    assert world.scheduled == 0
    assert all(heard(client) == [b"42[0]"] for client in clients)


def test_small_sends_go_before_large_fan_outs(world: World) -> None:
    bystander = world.client()
    clients = flood(world, 2 * SLICE)
    push(bystander, b"42[1]")
    push(clients[-1], b"42[1]")
    world.tick()
    assert heard(bystander) == [b"42[1]"]
    # A member of the large room gets its older packets first.
    assert heard(clients[-1]) == [b"42[0]", b"42[1]"]
    assert written(clients) == SLICE + 1


def test_small_sends_do_not_starve_a_large_fan_out(world: World) -> None:
    bystander = world.client()
    clients = flood(world, 3 * SLICE)
    for turn in range(1, 4):
        push(bystander, b"42[1]")
        world.tick()
        assert written(clients) == turn * SLICE


def test_a_second_fan_out_waits_and_keeps_order(world: World) -> None:
    clients = flood(world, SLICE + 5)
    world.tick()
    large(world, clients, b"42[1]")
    world.settle()
    assert all(heard(client) == [b"42[0]", b"42[1]"] for client in clients)


def test_a_large_fan_out_waits_a_few_turns_for_the_commands_behind_it(world: World) -> None:
    flusher = world.node.flusher
    clients = flood(world, 2 * SLICE)
    flusher.busy = lambda: True
    for number in range(BULK_WAITS):
        flusher.run()
        assert written(clients) == 0
        large(world, clients, b"42[%d]" % (number + 1))
    # The commands do not end. The fan-outs do not wait again before all are written.
    flusher.run()
    assert written(clients) == SLICE
    flusher.run()
    assert written(clients) == 2 * SLICE
    flusher.busy = lambda: False
    large(world, clients, b"42[9]")
    flusher.run()
    expected = [*(b"42[%d]" % number for number in range(BULK_WAITS + 1)), b"42[9]"]
    assert heard(clients[0]) == expected


def test_a_broadcast_that_has_begun_waits_for_the_rest_of_its_burst(world: World) -> None:
    """An app's first broadcast often arrives alone. The others come while a part of it is written."""
    flusher = world.node.flusher
    clients = flood(world, 2 * SLICE)
    flusher.run()
    assert written(clients) == SLICE
    flusher.busy = lambda: True
    for number in range(3):
        large(world, clients, b"42[%d]" % (number + 1))
        flusher.run()
        assert written(clients) == SLICE
    flusher.busy = lambda: False
    world.settle()
    assert [len(sink_of(client).writes) for client in clients] == [2] * SLICE + [1] * SLICE
    assert all(heard(client) == [b"42[%d]" % number for number in range(4)] for client in clients)


def test_a_large_fan_out_is_written_in_the_turn_that_ends_the_commands(world: World) -> None:
    clients = flood(world, SLICE)
    world.node.flusher.busy = lambda: True
    world.node.flusher.run()
    world.node.flusher.busy = lambda: False
    world.node.flusher.run()
    assert written(clients) == SLICE


STEPS = st.lists(
    st.tuples(st.sampled_from(["push", "later", "tick", "block", "unblock"]), st.integers(0, 2)), max_size=40
)


@given(STEPS)
def test_no_sequence_of_steps_loses_or_reorders_packets(steps: list[tuple[str, int]]) -> None:
    world = World()
    world.server()
    clients = [world.client() for _ in range(3)]
    sent: list[list[bytes]] = [[], [], []]
    for number, (step, which) in enumerate(steps):
        packet = b"42[%d]" % number
        if step == "push":
            push(clients[which], packet)
            sent[which].append(packet)
        elif step == "later":
            large(world, clients, packet)
            for queue in sent:
                queue.append(packet)
        elif step == "tick":
            world.tick()
        elif step == "block":
            clients[which].outbox.ready = False
        else:
            clients[which].outbox.unblock()
    for client in clients:
        client.outbox.unblock()
    world.settle()
    assert [heard(client) for client in clients] == sent


class Kernel:
    """Takes a part of what is written to descriptor 5, and nothing for others."""

    def __init__(self, world: World, takes: int) -> None:
        self.got = bytearray()
        self._takes = takes
        world.node.flusher.send = self.send

    def send(self, descriptor: int, data: bytes) -> int:
        if descriptor != 5:
            raise BlockingIOError
        taken = data[: self._takes]
        self.got += taken
        return len(taken)


def direct(world: World, descriptor: int = 5) -> Connection:
    """A client whose sink can be bypassed."""
    client = world.client()
    sink = sink_of(client)
    sink.descriptor = descriptor
    client.outbox.attach(sink, ready=True)
    return client


@pytest.mark.parametrize("takes", [0, 1, 100])
def test_what_the_kernel_leaves_goes_to_the_transport(world: World, takes: int) -> None:
    kernel, client = Kernel(world, takes), direct(world)
    # What the transport gets stands behind what the kernel took.
    client.outbox._write = kernel.got.extend
    large(world, [client], b"42[1]")
    world.tick()
    push(client, b"42[2]")
    world.tick()
    assert unframe(bytes(kernel.got)) == [b"42[1]", b"42[2]"]
    assert world.node.flusher.waiting == 0


def test_a_node_that_gives_nothing_to_the_kernel_leaves_all_to_the_transport(world: World) -> None:
    client = direct(world)
    large(world, [client], b"42[1]")
    world.tick()
    push(client, b"42[2]")
    world.tick()
    assert heard(client) == [b"42[1]", b"42[2]"]


def test_several_frames_are_joined_into_one_direct_write(world: World) -> None:
    kernel, client = Kernel(world, 100), direct(world)
    large(world, [client], b"42[1]")
    large(world, [client], b"42[2]")
    world.tick()
    assert (unframe(bytes(kernel.got)), sink_of(client).writes) == ([b"42[1]", b"42[2]"], [])


def test_a_descriptor_that_takes_nothing_leaves_all_to_the_transport(world: World) -> None:
    kernel, client = Kernel(world, 100), direct(world, descriptor=6)
    large(world, [client], b"42[1]")
    world.tick()
    assert (bytes(kernel.got), heard(client)) == (b"", [b"42[1]"])


def test_nothing_goes_to_the_descriptor_of_a_sink_that_is_full_or_gone(world: World) -> None:
    kernel, full, gone = Kernel(world, 100), direct(world), direct(world)
    full.outbox.block()
    large(world, [full, gone], b"42[1]")
    world.node.disconnect(gone, TRANSPORT_LOST, who="client")
    world.tick()
    assert not kernel.got
