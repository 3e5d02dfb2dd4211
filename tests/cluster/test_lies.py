"""A program that has taken over a node sends messages of every kind to the others, with content that no node
would send. None of them fails, and no hub is touched that the messages do not name."""

from __future__ import annotations

import logging
from typing import get_args

import pytest

from moorage.cluster.coverage.coverage import Coverage
from moorage.cluster.members.membership import Member
from moorage.cluster.trace.traces import Traces
from moorage.hub.trace.tracer import Tracer
from moorage.wire.cluster import messages
from moorage.wire.cluster.messages import VERSION, Alive, Body, Envelope, Goodbye
from moorage.wire.commands import EVERYONE, Send
from moorage.wire.errors import PeerError
from moorage.wire.groups import namespace_group, room_group
from moorage.wire.moorage.rows import Count
from tests.cluster.lies import COUNTS, Liar
from tests.cluster.nodes import Nodes
from tests.cluster.recovery.keepers import Keepers
from tests.cluster.recovery.stage import Several
from tests.hub.fakes import HUB, heard

TEXTS: tuple[str, ...] = (
    *("", HUB, "APP", "no-hub", "node-000", "node-001", "node-009", "s1", "/", "/x", "ada", "a~b", "0~x~y"),
    *("x" * 300, "é\x00", "ready", "clients", "http://[", "unknown-sid", "transport-close"),
    *(namespace_group("/"), room_group("/", "room")),
)


class Victims:
    """Three nodes with everything that takes messages; with `journals` they survive each other. The first one
    lies."""

    def __init__(self, *, journals: bool) -> None:
        self.several = Keepers() if journals else Several(3)
        self.nodes = self.several.nodes
        for at, (router, world) in enumerate(zip(self.nodes.routers, self.nodes.worlds, strict=True)):
            own = Member(world.incarnation, f"node {at}", "", "", VERSION)
            Coverage(world.node, router, own, lambda member: True, most=8)
            tracer = Tracer(world.node, lambda: 1_700_000_000.0)
            Traces(tracer, router, own=own.incarnation, name=own.name, clock=world.node.clock)
            world.server("other", hub="other")
        self.clients = [self.several.client(at, "room") for at in range(3)]
        self.others = [world.client("/", hub="other") for world in self.nodes.worlds]
        self.nodes.settle()
        self.before = [heard(client) for client in self.others]

    @property
    def texts(self) -> tuple[str, ...]:
        """What the liar knows."""
        ids = [client.connection.id for client in self.clients]
        sockets = [text for client in self.clients for text in (*client.sid.values(), *client.pid.values())]
        return (*TEXTS, *ids, *sockets)

    def lie(self, liar: Liar, kind: type) -> None:
        """The first node sends a message of this kind."""
        request = liar.random.choice(COUNTS)
        message = messages.encode(Envelope("node-000", liar.value(kind), request, *liar.value(VIA)))
        try:
            messages.decode(message)
        except PeerError:
            # Its form is not right, which `test_messages` has.
            return
        if liar.random.random() < 0.5:
            self.nodes.routers[0].streams.send("node-001", message)
        else:
            self.nodes.routers[0].streams.send_all(message)
        self.nodes.settle()


VIA = tuple[str, Count, Count, tuple[str, ...]]
"""What an envelope says of the app server."""


@pytest.mark.parametrize("seed", range(12))
async def test_no_message_of_a_node_makes_another_one_fail(
    seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    victims = Victims(journals=seed % 2 == 1)
    liar = Liar(seed, victims.texts)
    kinds = [*get_args(Body)] * 2
    liar.random.shuffle(kinds)
    for kind in kinds:
        victims.lie(liar, kind)
        if liar.random.random() < 0.1:
            victims.several.tick(liar.random.choice((0.25, 1.0, 4.0)))
    victims.several.tick(60.0)
    worlds = victims.nodes.worlds
    assert [fault for world in worlds for fault in world.faults] == []
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []
    # The hub that was never named is as before.
    assert [heard(client) for client in victims.others] == victims.before
    victims.nodes.done(1, Send("other", EVERYONE, b'42["still there"]'))
    assert [heard(client)[-1] for client in victims.others[1:]] == [b'42["still there"]'] * 2


def listed() -> Nodes:
    """Three nodes whose heartbeats decide who is on the list."""
    nodes = Nodes(3)
    for router in nodes.routers:
        for other in tuple(router.peers):
            router.remove(other)
    for at, router in enumerate(nodes.routers):
        router.join(Alive(f"node {at}", new=True))
    for _ in range(4):
        nodes.settle()
        nodes.later(0.5)
    assert [len(router.peers) for router in nodes.routers] == [2, 2, 2]
    return nodes


@pytest.mark.parametrize("seed", range(8))
def test_no_heartbeat_of_a_node_makes_another_one_fail(seed: int, caplog: pytest.LogCaptureFixture) -> None:
    nodes = listed()
    names = [world.incarnation for world in nodes.worlds]
    liar = Liar(seed, (*TEXTS, *names, "node 1"))
    for _ in range(40):
        beat = liar.value(liar.random.choice((Alive, Alive, Alive, Goodbye)))
        if isinstance(beat, Alive) and liar.random.random() < 0.6:
            beat.version = VERSION
        message = messages.encode(Envelope("n0", beat))
        streams = nodes.routers[0].streams
        (streams.send_all if liar.random.random() < 0.2 else streams.beat)(message)
        nodes.settle()
        nodes.later(liar.random.choice((0.25, 0.5, 1.0)))
    nodes.later(10.0)
    nodes.settle()
    assert [fault for world in nodes.worlds for fault in world.faults] == []
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []
    # The others go on together.
    assert "n2" in nodes.routers[1].peers
    assert "n1" in nodes.routers[2].peers
