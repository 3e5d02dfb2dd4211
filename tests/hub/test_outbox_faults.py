"""A write that fails ends its client, once, and harms no other."""

from __future__ import annotations

import pytest

from moorage.hub.hub import Connection
from moorage.hub.outbox import SLICE
from moorage.hub.settings import Limits
from moorage.wire.commands import EVERYONE
from moorage.wire.reasons import Reason
from tests.hub.fakes import RecordingSink, World, heard
from tests.hub.test_outbox import push


@pytest.fixture
def world() -> World:
    """A node with an app server."""
    world = World()
    world.server()
    return world


class BrokenSink(RecordingSink):
    """A sink whose writes raise."""

    def write(self, data: bytes) -> None:
        raise RuntimeError("broken")

    def _send(self, opcode: int, buffer: bytearray, offset: int) -> None:
        self.write(b"")


def breaking(world: World, client: Connection) -> Connection:
    """The client's sink fails from now on."""
    client.outbox.attach(BrokenSink(), ready=True)
    return client


@pytest.mark.parametrize("size", [3, SLICE + 3], ids=["small", "large"])
@pytest.mark.parametrize("packet", [b"42[1]", b"42[1]\x1e42[2]", b"42[" + b"1" * 100_000 + b"]"])
def test_a_failing_write_ends_its_client_and_no_other_misses_anything(
    world: World, size: int, packet: bytes
) -> None:
    clients = [world.client("/") for _ in range(size)]
    broken = [breaking(world, clients[at]) for at in (0, size // 2)]
    world.emit(EVERYONE, packet)
    world.settle()
    well = [client for client in clients if client not in broken]
    assert all(heard(client) == packet.split(b"\x1e") for client in well)
    assert [row[:3] for row in world.logged] == [(client.id, "internal", "service") for client in broken]
    assert [(part, str(error)) for part, error in world.faults] == [("write", "broken")] * 2
    assert world.node.flusher.waiting == 0
    world.emit(EVERYONE, b"42[3]")
    world.settle()
    assert len(world.faults) == 2
    assert all(heard(client)[-1] == b"42[3]" for client in well)


def test_a_write_that_fails_in_the_middle_of_an_emit_does_not_stop_it() -> None:
    world = World(limits=Limits(outbox_hard_bytes=1_000_000, outbox_bytes=100_000))
    world.server()
    broken, well = breaking(world, world.client("/")), world.client("/")
    for _ in range(12):
        world.emit(EVERYONE, b"42[" + b"1" * 100_000 + b"]")
    world.settle()
    assert len(heard(well)) == 12
    assert [row[:2] for row in world.logged] == [(broken.id, "internal")]
    assert world.node.flusher.waiting == 0


def test_a_client_whose_end_fails_too_does_not_stop_the_flush(world: World) -> None:
    class Worse(BrokenSink):
        def close(self, reason: Reason, rest: list[bytes]) -> None:
            raise RuntimeError("still broken")

    worse, well = world.client("/"), world.client("/")
    worse.outbox.attach(Worse(), ready=True)
    world.emit(EVERYONE, b"42[1]")
    world.settle()
    assert heard(well) == [b"42[1]"]
    assert [part for part, _ in world.faults] == ["write", "close"]
    assert world.node.connections == 1


def test_a_client_that_disconnects_after_a_failed_write_is_closed_once() -> None:
    world = World(limits=Limits(outbox_hard_bytes=1_000_000, outbox_bytes=100_000))
    world.server()
    broken = breaking(world, world.client("/"))
    for _ in range(11):
        world.emit(EVERYONE, b"42[" + b"1" * 100_000 + b"]")
    world.node.receive(broken, b"1")
    world.settle()
    assert [row[:2] for row in world.logged] == [(broken.id, "client-closed")]
    assert world.faults == []


# -- another sink


def test_an_upgrade_that_completes_after_the_end_counts_no_websocket(world: World) -> None:
    client = world.client("/", framed=False)
    world.node.receive(client, b"1")
    late = RecordingSink()
    client.outbox.attach(late, ready=True)
    push(client, b"42[1]")
    world.settle()
    assert (late.writes, world.hub().websockets) == ([], 0)


def test_a_write_that_fails_at_a_release_ends_its_client_alone(world: World) -> None:
    """Many clients are released by one call."""
    client = world.client()
    client.outbox.hold()
    push(client, b"42[1]")
    breaking(world, client)
    client.outbox.release()
    world.settle()
    assert [close[:2] for close in world.observer.closes] == [(client.id, "internal")]
