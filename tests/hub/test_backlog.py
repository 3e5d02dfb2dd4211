"""Clients that are closed because they do not read. Time is a number in these tests."""

from __future__ import annotations

import pytest

from moorage.engine.upgrade import Step
from moorage.hub.connections import fanout
from moorage.hub.connections.fanout import Delivery, Encoded
from moorage.hub.hub import Client, Connection
from moorage.hub.outbox import SLICE
from moorage.hub.settings import Limits
from moorage.wire.commands import CloseConnections, Selection
from moorage.wire.handshake import OpenInfo
from moorage.wire.reasons import SLOW_CLIENT, Reason
from tests.hub.fakes import (
    HUB,
    PollingSink,
    RecordingLink,
    RecordingOpening,
    RecordingSink,
    World,
    heard,
    sink_of,
)

pytestmark = pytest.mark.repair(15)

MIB = 1024 * 1024
LIMITS = Limits(outbox_bytes=MIB, outbox_hard_bytes=4 * MIB, outbox_total_bytes=32 * MIB, slow_after=5)


@pytest.fixture
def world() -> World:
    """A node with an app server."""
    world = World(limits=LIMITS)
    world.server()
    return world


def push(world: World, connection: Connection, *sizes: int) -> None:
    """Queue emits of these sizes."""
    for size in sizes:
        fanout.push(connection, Encoded(b"4" * size), world.node.flusher)
    world.settle()


def pass_time(world: World, seconds: float) -> None:
    """Advance the time in the service's steps of a quarter of a second."""
    for _ in range(int(seconds * 4)):
        world.now += 0.25
        world.node.tick(world.now)
        world.settle()


def block(connection: Connection) -> None:
    """Make the client stop reading."""
    connection.outbox.ready = False


def closed(connection: Connection) -> bool:
    """True if the client was closed."""
    return connection.outbox.sink is None


def blocked(world: World, count: int, framed: bool = True) -> list[Connection]:
    """Clients that read nothing."""
    clients = [world.client(framed=framed) for _ in range(count)]
    for client in clients:
        block(client)
    return clients


# -- one client


@pytest.mark.parametrize("framed", [True, False])
def test_a_client_that_reads_nothing_is_closed_in_time(framed: bool) -> None:
    world = World(limits=LIMITS)
    _, link = world.server()
    client = world.client(framed=framed)
    sink = sink_of(client)
    block(client)
    push(world, client, MIB // 2, MIB // 2, MIB // 2)
    pass_time(world, 4.75)
    assert sink.closed == []
    pass_time(world, 2)
    assert sink.closed == [(SLOW_CLIENT, b"")]
    assert link.ended == [(client.id, SLOW_CLIENT)]
    assert [row[1] for row in world.logged] == ["slow-client"]
    (line,) = world.logged
    assert line[1:3] == ("slow-client", "service")
    assert line[5] > MIB
    assert world.node.connections == 0
    assert world.node.flusher.backlog.total == 0


def test_a_client_that_has_little_queued_may_read_nothing(world: World) -> None:
    (client,) = blocked(world, 1)
    push(world, client, MIB // 2, MIB // 3)
    pass_time(world, 60)
    assert not closed(client)


def test_a_client_that_reads_slowly_is_not_slow(world: World) -> None:
    (client,) = blocked(world, 1)
    push(world, client, *[MIB // 2] * 7)
    for _ in range(20):
        pass_time(world, 3)
        sink_of(client).taken += 1
    assert not closed(client)
    pass_time(world, 7)
    assert closed(client)


def test_a_client_that_polls_slowly_is_not_slow(world: World) -> None:
    client = world.client(framed=False)
    sink = sink_of(client)
    assert isinstance(sink, PollingSink)
    push(world, client, *[30_000] * 120)
    for _ in range(5):
        pass_time(world, 4)
        sink.poll()
    assert not closed(client)
    assert sum(map(len, sink.writes)) > 80 * 30_000
    push(world, client, *[30_000] * 50)
    pass_time(world, 7)
    assert closed(client)


def test_beyond_the_hard_limit_a_client_is_closed_at_once(world: World) -> None:
    (client,) = blocked(world, 1)
    push(world, client, *[MIB] * 3)
    assert not closed(client)
    push(world, client, MIB + 1)
    assert closed(client)
    assert [row[1] for row in world.logged] == ["slow-client"]


def test_the_close_waits_for_the_end_of_the_emit(world: World) -> None:
    (client,) = blocked(world, 1)
    sink = sink_of(client)
    for _ in range(50):
        fanout.push(client, Encoded(b"4" * MIB), world.node.flusher)
    assert sink.closed == []
    assert world.node.flusher.backlog.total == 0, "the bytes are let go at once"
    # The queue was discarded, so newer packets must not be sent: that would leave a gap.
    client.outbox.unblock()
    fanout.push(client, Encoded(b"42[2]"), world.node.flusher)
    world.settle()
    assert sink.packets == []
    assert sink.closed == [(SLOW_CLIENT, b"")]


def test_a_slow_client_that_disconnects_is_not_counted_as_slow(world: World) -> None:
    (client,) = blocked(world, 1)
    fanout.push(client, Encoded(b"4" * MIB), world.node.flusher)
    fanout.push(client, Encoded(b"4" * 4 * MIB), world.node.flusher)
    world.node.receive(client, b"1")
    world.settle()
    assert [row[1] for row in world.logged] == ["client-closed"]


@pytest.mark.parametrize("framed", [True, False])
def test_a_single_emit_of_any_size_passes(framed: bool) -> None:
    world = World(limits=Limits(outbox_bytes=MIB, outbox_hard_bytes=4 * MIB))
    world.server()
    client = world.client(framed=framed)
    push(world, client, 16 * MIB)
    pass_time(world, 3)
    assert list(map(len, heard(client))) == [16 * MIB]
    block(client)
    push(world, client, 16 * MIB)
    assert not closed(client)
    client.outbox.unblock()
    assert list(map(len, heard(client))) == [16 * MIB] * 2


def test_a_client_that_reads_gets_any_burst(world: World) -> None:
    """The whole burst is emitted in one tick of the loop."""
    client = world.client()
    for _ in range(30):
        fanout.push(client, Encoded(b"4" * MIB), world.node.flusher)
    world.settle()
    assert len(heard(client)) == 30


# -- all clients together


def test_a_broadcast_counts_once_for_all_waiting_clients() -> None:
    for count in (10, SLICE + 10):
        world = World(limits=LIMITS)
        world.server()
        clients = blocked(world, count)
        Delivery(b"4" * MIB, world.node.flusher).to(clients)
        world.settle()
        assert MIB <= world.node.flusher.backlog.total + count <= 1.1 * MIB
        assert not any(map(closed, clients))
        for client in clients:
            client.outbox.unblock()
        assert world.node.flusher.backlog.total == 0


@pytest.mark.parametrize("framed", [True, False])
def test_clients_that_have_read_nothing_for_longest_are_closed_first(framed: bool) -> None:
    world = World(limits=LIMITS)
    world.server()
    early = blocked(world, 10, framed)
    for client in early:
        push(world, client, MIB // 2)
    pass_time(world, 10)
    late = blocked(world, 60, framed)
    for client in late:
        push(world, client, MIB // 2)
    assert sum(map(closed, early)) >= 6
    assert not any(map(closed, late))
    assert world.node.flusher.backlog.total <= LIMITS.outbox_total_bytes


def test_clients_that_read_are_spared(world: World) -> None:
    reader = world.client()
    stuck = blocked(world, 100)
    for client in stuck:
        push(world, client, MIB // 2)
        push(world, reader, MIB)
    assert not closed(reader)
    assert sum(map(closed, stuck)) >= 30
    assert len(heard(reader)) == 100


def test_bytes_in_the_transport_count_until_they_are_read(world: World) -> None:
    client = world.client()
    sink = Full(client)
    client.outbox.attach(sink, ready=True)
    push(world, client, 3 * MIB)
    held = world.node.flusher.backlog.total
    assert held >= 3 * MIB
    push(world, client, 2 * MIB)
    assert world.node.flusher.backlog.total >= 5 * MIB
    client.outbox.unblock()
    assert 2 * MIB <= world.node.flusher.backlog.total < 3 * MIB
    sink.blocks = False
    client.outbox.unblock()
    assert world.node.flusher.backlog.total == 0
    assert len(heard(client)) == 2


class Full(RecordingSink):
    """A sink that is full after each write while `blocks` is set."""

    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self.blocks = True
        self._box = connection.outbox

    def write(self, data: bytes) -> None:
        super().write(data)
        if self.blocks:
            self._box.ready = False


def test_nothing_is_counted_for_clients_that_are_gone(world: World) -> None:
    clients = blocked(world, 5)
    for client in clients:
        push(world, client, MIB)
    world.node.receive(clients[0], b"1")
    clients[1].outbox.attach(RecordingSink(), ready=True)
    assert 3 * MIB <= world.node.flusher.backlog.total < 4 * MIB
    for client in clients[2:]:
        client.outbox.unblock()
    assert world.node.flusher.backlog.total == 0


def test_a_client_without_a_transport_is_not_slow(world: World) -> None:
    """It has been accepted, and its transport is not there yet."""

    class Late(RecordingOpening):
        def accepted(self, connection: Connection, info: OpenInfo) -> None:
            connection.session.step(Step.OPENED_WEBSOCKET)

    client = world.open(Late())
    push(world, client, MIB, MIB)
    pass_time(world, 10)
    client.outbox.attach(RecordingSink(), ready=True)
    world.settle()
    assert (len(heard(client)), world.logged) == (2, [])


def test_one_client_that_holds_the_whole_total_is_closed(world: World) -> None:
    (client,) = blocked(world, 1)
    push(world, client, 33 * MIB)
    assert closed(client)
    assert world.node.flusher.backlog.total == 0


def test_the_close_of_a_slow_client_may_end_others(world: World) -> None:
    """The app server, notified of the first one, closes the second one."""

    class Guardian(RecordingLink):
        def closed(self, connection: Client, reason: Reason) -> None:
            super().closed(connection, reason)
            world.execute(CloseConnections(HUB, Selection(connection=clients[1].id)))

    clients = blocked(world, 5)
    clients[0].server.link = Guardian()
    for client in clients:
        fanout.push(client, Encoded(b"4" * 11 * MIB), world.node.flusher)
    world.settle()
    assert [closed(client) for client in clients] == [True, True, True, False, False]
    assert sorted(row[1] for row in world.logged) == ["api-closed", "slow-client", "slow-client"]
    assert 22 * MIB <= world.node.flusher.backlog.total < 23 * MIB
