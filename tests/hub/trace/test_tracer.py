"""The watches of a node, on real connections."""

from __future__ import annotations

from typing import Any

import pytest

from moorage.hub.trace.tap import TappedSession
from moorage.hub.trace.tracer import DELIVERIES, MAX_ENTRIES, MAX_HELD
from moorage.hub.trace.watch import MAX_TAPS, RATE
from moorage.wire import reasons
from moorage.wire.errors import PeerError
from moorage.wire.trace.scope import Scope
from moorage.wire.trace.seen import Packet
from tests.hub.fakes import HUB, RecordingOpening, RecordingSink, heard
from tests.hub.trace.traced import WALL, Traced, is_plain


@pytest.fixture
def world() -> Traced:
    made = Traced()
    made.server()
    return made


def test_one_connection(world: Traced) -> None:
    client, other = world.client("/", user_id="ada"), world.client("/")
    world.watch(connection=client.id)
    world.now += 1
    world.node.receive(client, b'42["hello",1]')
    world.node.receive(other, b'42["other"]')
    world.send(client, b'42["welcome"]')
    world.send(other, b'42["other"]')
    first, second = world.seen()
    common: Any = {"size": 13, "socket": f"{client.id}/"}
    assert first == Packet(WALL + 1_001.0, HUB, client.id, "ada", "s1", "in", "event", "/", "hello", **common)
    assert second == Packet(
        WALL + 1_001.0, HUB, client.id, "ada", "s1", "out", "event", "/", "welcome", **common
    )
    world.settle()
    assert heard(client) == [b'42["welcome"]'], "the client gets what it would get without a trace"


def test_an_upgrade(world: Traced) -> None:
    client = world.client("/", framed=False)
    world.watch(connection=client.id)
    client.outbox.attach(RecordingSink(), ready=True)
    world.node.receive(client, b'42["a"]')
    assert world.short() == [("upgraded",), ("in", "event", "a")]


def test_an_app_server(world: Traced) -> None:
    client = world.client("/")
    second, _ = world.server("s2")
    world.watch(app_server="s1")
    world.watch("one", connection=client.id)
    world.node.receive(client, b'42["a"]')
    new = world.client("/")
    assert new.server is second
    assert world.short() == [("in", "event", "a")]
    # It moves.
    client.server.clients.discard(client)
    client.server = second
    second.clients.add(client)
    world.node.receive(client, b'42["b"]')
    assert world.short() == [("moved",)]
    assert world.short("one") == [("in", "event", "a"), ("moved",), ("in", "event", "b")]
    world.tracer.stop("one")
    assert is_plain(client)
    # And comes back.
    first = world.hub().servers.get("s1")
    assert first is not None
    client.server = first
    first.clients.add(client)
    assert world.short() == []
    world.node.receive(client, b'42["c"]')
    assert world.short() == [("in", "event", "c")]


def test_an_app_server_of_another_hub(world: Traced) -> None:
    world.server("s1", "other")
    here = world.client("/")
    there = world.open(RecordingOpening(), hub="other")
    world.watch(app_server="s1", hub="other")
    world.tracer.tick()
    world.node.receive(here, b'42["a"]')
    world.node.receive(there, b'42["b"]')
    assert world.short() == [("in", "event", "b")]


def test_a_sample_of_everything(world: Traced) -> None:
    clients = [world.client("/") for _ in range(20)]
    world.watch("all", sample=1.0)
    world.watch("none", sample=0.0)
    for client in (*clients, world.client("/")):
        world.node.receive(client, b'42["a"]')
    assert world.short("all").count(("in", "event", "a")) == 21
    assert world.short("none") == []
    assert world.tracer.take("all").connections == 21


def test_a_stopped_search(world: Traced) -> None:
    client = world.client("/")
    world.tracer.start("w", Scope(sample=1.0))
    world.tracer.stop("w")
    world.settle()
    assert is_plain(client)


def test_the_last_watch_puts_everything_back(world: Traced) -> None:
    client = world.client("/", user_id="ada")
    plain = (world.node.observer, dict(world.node.handlers), dict(world.node.askers))
    limit = client.outbox.limit
    world.watch("a", user="ada")
    world.watch("a", user="ada")
    world.watch("b", connection=client.id)
    world.watch("r", room="r")
    assert len(world.tracer) == 3
    assert isinstance(client.session, TappedSession)
    world.node.receive(client, b'42["a"]')
    assert len(world.seen("a")) == len(world.seen("b")) == 1
    for watch in ("a", "unknown", "b", "r"):
        assert world.node.observer is not plain[0]
        world.tracer.stop(watch)
    assert (world.node.observer, world.node.handlers, world.node.askers) == plain
    assert is_plain(client)
    assert client.outbox.limit == limit
    world.node.receive(client, b'42["b"]')
    assert client.session.peer.namespaces == {"/": f"{client.id}/"}


def test_too_many_connections(world: Traced) -> None:
    clients = [world.client() for _ in range(MAX_TAPS + 1)]
    world.watch("all", sample=1.0)
    world.watch("app", app_server="s1")
    for name in ("all", "app"):
        taken = world.tracer.take(name)
        assert (taken.connections, taken.limited) == (MAX_TAPS, True)
    world.tracer.tick()
    world.tracer.stop("all")
    world.tracer.stop("app")
    assert all(map(is_plain, clients))


def test_a_flood(world: Traced) -> None:
    client = world.client("/")
    world.watch(connection=client.id)
    for _ in range(int(RATE.burst) + 100):
        world.node.receive(client, b'42["a"]')
    world.tracer.tick()
    world.settle()
    taken = world.tracer.take("w")
    assert (len(taken.events), taken.dropped) == (RATE.burst, 100)


def test_many_watches_share_the_rate_of_the_node(world: Traced) -> None:
    client = world.client("/")
    for number in range(100):
        world.watch(str(number), connection=client.id)
    for _ in range(100):
        world.node.receive(client, b'42["a"]')
    world.tracer.tick()
    world.settle()
    taken = [world.tracer.take(str(number)) for number in range(100)]
    assert sum(len(each.events) for each in taken) == DELIVERIES.burst
    assert sum(each.dropped for each in taken) == 100 * 100 - DELIVERIES.burst
    assert world.node.flusher.waiting == 0


def test_large_packets(world: Traced) -> None:
    client = world.client("/")
    world.watch(connection=client.id)
    packet = b'42["' + b"x" * 900_000 + b'"]'
    count = MAX_HELD // len(packet)
    for _ in range(count + 2):
        world.node.receive(client, packet)
    world.tracer.tick()
    taken = world.tracer.take("w")
    assert (len(taken.events), taken.dropped) == (count, 2)
    world.node.receive(client, packet)
    assert len(world.seen()) == 1


def test_many_changes(world: Traced) -> None:
    world.watch(sample=1.0)
    for _ in range(MAX_ENTRIES + 10):
        world.tracer.refused("app", None, PeerError(reasons.DRAINING))
    world.tracer.tick()
    world.settle()
    taken = world.tracer.take("w")
    assert len(taken.events) + taken.dropped == MAX_ENTRIES + 10


def test_a_large_queue_of_a_traced_client_is_counted(world: Traced) -> None:
    client = world.client("/")
    world.watch(connection=client.id)
    client.outbox.block()
    for _ in range(3):
        world.send(client, b'42["' + b"x" * 100_000 + b'"]')
    assert world.node.flusher.backlog.total > 300_000
    client.outbox.unblock()
    world.settle()
    assert world.node.flusher.backlog.total == 0
    assert len(heard(client)) == 3
    assert len(world.seen()) == 3
