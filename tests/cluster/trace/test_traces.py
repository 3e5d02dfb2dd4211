"""Traces of several nodes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from moorage.cluster.trace.traces import BATCH, LEASE_SECONDS, MAX_FOREIGN, RENEW_SECONDS, TICK_BYTES, Traces
from moorage.hub.trace.tracer import Tracer
from moorage.wire.cluster.messages import Envelope, decode, encode
from moorage.wire.commands import Selection, Send
from moorage.wire.errors import PeerError
from moorage.wire.groups import namespace_group
from moorage.wire.trace.messages import Traced, Unwatch, Watch
from moorage.wire.trace.scope import Scope
from moorage.wire.trace.seen import Packet, State
from tests.cluster.nodes import Nodes
from tests.hub.fakes import HUB

NAMESPACE = Selection(group=namespace_group("/"))


class TracedNodes(Nodes):
    """Nodes with traces."""

    def __init__(self, count: int, clients: int = 1) -> None:
        super().__init__(count, clients)
        self.tracers = [Tracer(world.node, lambda: 1_700_000_000.0) for world in self.worlds]
        self.traces = [
            Traces(tracer, router, own=world.incarnation, name=f"node {at}", clock=world.node.clock)
            for at, (tracer, router, world) in enumerate(
                zip(self.tracers, self.routers, self.worlds, strict=True)
            )
        ]

    def tick(self, *of: int) -> None:
        """One tick of these nodes' traces; of all if none is named."""
        for at in of or range(len(self.traces)):
            self.traces[at].tick(self.worlds[at].now)
        self.settle()

    def watched(self) -> list[int]:
        """The number of watches at each node."""
        return list(map(len, self.tracers))


class Taken:
    """Takes what was seen."""

    def __init__(self) -> None:
        self.batches: list[Traced] = []

    def __call__(self, traced: Traced) -> None:
        self.batches.append(traced)

    @property
    def events(self) -> list[tuple[str, str | None]]:
        """The nodes and the events' names."""
        return [
            (batch.node, seen.event)
            for batch in self.batches
            for seen in batch.events
            if isinstance(seen, Packet)
        ]


def say(nodes: Nodes, at: int, name: str, client: int = 0) -> None:
    nodes.worlds[at].node.receive(nodes.clients[at][client], f'42["{name}"]'.encode())


def test_all_nodes_watch() -> None:
    nodes, taken = TracedNodes(3), Taken()
    watch = nodes.traces[0].open(Scope(sample=1.0), taken)
    nodes.settle()
    assert nodes.watched() == [1, 1, 1]
    nodes.tick()
    assert [(batch.node, batch.connections, batch.limited) for batch in taken.batches] == [
        ("node 0", 0, False),
        ("node 0", 1, False),
        ("node 1", 1, False),
        ("node 2", 1, False),
    ]
    for at in range(3):
        say(nodes, at, f"e{at}")
    nodes.submit(0, Send(HUB, NAMESPACE, b'42["all"]'))
    nodes.settle()
    nodes.tick()
    expected = [(f"node {at}", name) for at in range(3) for name in ("all", f"e{at}")]
    assert sorted(taken.events) == expected
    before = len(taken.batches)
    nodes.tick()
    assert len(taken.batches) == before, "no news"
    nodes.traces[0].close(watch)
    nodes.traces[0].close(watch)
    nodes.settle()
    assert nodes.watched() == [0, 0, 0]
    nodes.tick()


def test_a_new_node_hears_of_it_and_a_lost_one_is_forgotten() -> None:
    nodes, taken = TracedNodes(2), Taken()
    nodes.routers[0].remove("n1")
    nodes.routers[1].remove("n0")
    nodes.traces[0].open(Scope(user="u1"), taken)
    nodes.settle()
    nodes.routers[0].add("n1", "node 1")
    nodes.routers[1].add("n0", "node 0")
    nodes.later(RENEW_SECONDS)
    nodes.tick()
    assert nodes.watched() == [1, 1]
    for _ in range(8):
        nodes.later(RENEW_SECONDS)
        nodes.tick()
    assert nodes.watched() == [1, 1], "it is renewed"
    nodes.later(LEASE_SECONDS - 0.5)
    nodes.tick(1)
    assert nodes.watched() == [1, 1]
    nodes.later(0.5)
    nodes.tick(1)
    assert nodes.watched() == [1, 0]


def test_a_large_batch() -> None:
    nodes, taken = TracedNodes(2, clients=3), Taken()
    nodes.traces[0].open(Scope(sample=1.0), taken)
    nodes.settle()
    for number in range(BATCH + 50):
        say(nodes, 1, str(number), number % 3)
    nodes.tick(1)
    nodes.settle()
    nodes.tick(1)
    assert [len(batch.events) for batch in taken.batches if batch.node == "node 1"] == [0, BATCH, 50]
    assert taken.events == [("node 1", str(number)) for number in range(BATCH + 50)]


def test_the_bytes_for_other_nodes_are_bounded() -> None:
    nodes, taken = TracedNodes(2), Taken()
    nodes.traces[0].open(Scope(sample=1.0, payload=True), taken)
    nodes.settle()
    for _ in range(200):
        say(nodes, 1, "x" * 3_000)
    nodes.tick(1)
    nodes.settle()
    nodes.tick(1)
    shown = sum(len(batch.events) for batch in taken.batches)
    assert shown + sum(batch.dropped for batch in taken.batches) == 200
    assert 0 < shown < TICK_BYTES // 2_048
    assert any(batch.dropped for batch in taken.batches)


def test_what_a_node_does_not_take() -> None:
    nodes, taken = TracedNodes(2), Taken()
    watch = nodes.traces[0].open(Scope(user="u1"), taken)
    nodes.settle()
    stranger = nodes.routers[0].handlers
    other = nodes.routers[1].handlers
    # Another node cannot end it, extend it, or take its id.
    other[Unwatch](Envelope("n7", Unwatch(watch)))
    other[Watch](Envelope("n7", Watch(watch, Scope(user="u1"), 3600.0)))
    stranger[Watch](Envelope("n7", Watch(watch, Scope(user="u1"), 3600.0)))
    assert nodes.watched() == [1, 1]
    nodes.later(LEASE_SECONDS)
    nodes.tick(1)
    assert nodes.watched() == [1, 0]
    other[Unwatch](Envelope("n0", Unwatch(watch)))
    stranger[Traced](Envelope("n1", Traced("unknown", "node 1", (), 0, 1, False)))
    assert len(taken.batches) == 1, "what this node tells at once"
    for number in range(MAX_FOREIGN + 5):
        other[Watch](Envelope("n0", Watch(f"n0.{number}", Scope(user="u1"), 1.0)))
    assert nodes.watched() == [1, MAX_FOREIGN]


def test_their_form() -> None:
    packet = Packet(1.5, HUB, "c1", None, "s1", "in", "event", "/", "e", 10, 1, 5, 2.5, 0, '["e"]')
    state = State(1.5, HUB, "c1", "ada", "s1", "closed", age=3.0, number=1001)
    bodies: Sequence[Any] = (
        Watch("n0.1", Scope(room="r", namespace="/n", payload=True), 7.0),
        Unwatch("n0.1"),
        Traced("n0.1", "node", (packet, state), 3, 1, True),
    )
    for body in bodies:
        assert decode(encode(Envelope("n0", body))).body == body


@pytest.mark.parametrize(
    "body",
    [
        Watch("n0.1", Scope(sample=2.0), 7.0),
        Watch("n0.1", Scope(user="x" * 2_000), 7.0),
        Watch("n0.1", Scope(), 1e9),
        Unwatch("x" * 100),
        Traced("n0.1", "node", (), -1, 0, False),
    ],
)
def test_bad_messages(body: Any) -> None:
    with pytest.raises(PeerError):
        decode(encode(Envelope("n0", body)))
