"""Which nodes a room's emits wake: those with members, and over the broker none that an app server covers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from functools import partial

import pytest
from azure.messaging.webpubsubservice import WebPubSubServiceClient

from moorage.wire.groups import room_group
from tests.integration.test_coverage import App, Cluster
from tests.integration.test_nodes import until
from tests.sdk.contract.executors import Executor
from tests.support.nats_server import NatsServer

pytestmark = pytest.mark.timeout(180)
EMITS = 100
HEARTBEAT = 1.0
"""Seconds between two heartbeats of a node. They are messages, too."""


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with NatsServer() as server:
        made = Cluster(server)
        yield made
        made.end()


@pytest.fixture
async def app() -> AsyncIterator[App]:
    async with AsyncExitStack() as stack:
        yield App(Executor("asyncio"), stack, "selectivity")


class Received:
    """The messages that each node receives from now on, without heartbeats."""

    def __init__(self, cluster: Cluster) -> None:
        self._nodes = cluster.nodes
        self._since = time.monotonic()
        self._before = self._now()

    def _now(self) -> dict[str, float]:
        name = "moorage_cluster_messages_received_total"
        return {node: process.metric(name) for node, process in self._nodes.items()}

    def since(self) -> dict[str, float]:
        """At least so many; one heartbeat of each other node more or less than expected."""
        now = self._now()
        beats = (len(now) - 1) * ((time.monotonic() - self._since) / HEARTBEAT + 2)
        return {node: max(0.0, count - self._before[node] - beats) for node, count in now.items()}


async def test_a_room_on_one_node_wakes_no_other(app: App, cluster: Cluster) -> None:
    names = [f"node-{number}" for number in range(4)]
    for count in (2, 4):
        new = names[len(cluster.nodes) : count]
        await asyncio.to_thread(cluster.start, *new)
        if count == 2:
            await app.link(cluster.nodes[names[0]])
        covered = partial(is_covered, app, count)
        await asyncio.to_thread(until, covered, "all are covered")
        for name in new:
            await app.connect(name, cluster.nodes[name])
        if count == 2:
            await app.call(app.sio.enter_room, app.sids[names[0]], "room")
        member = app.clients[names[0]]

        received = await asyncio.to_thread(Received, cluster)
        await asyncio.to_thread(emit_by_rest, cluster.nodes[names[1]].connection_string, app.hub)
        assert [await member.next() for _ in range(EMITS)] == [("rest", n) for n in range(EMITS)]
        woken = await asyncio.to_thread(received.since)
        assert woken.pop(names[0]) > EMITS / 2
        assert set(woken.values()) == {0.0}, woken

        received = await asyncio.to_thread(Received, cluster)
        for number in range(EMITS):
            await app.call(app.sio.emit, "app", number, room="room")
        assert [await member.next() for _ in range(EMITS)] == [("app", n) for n in range(EMITS)]
        woken = await asyncio.to_thread(received.since)
        assert set(woken.values()) == {0.0}, woken
    for name in names[1:]:
        assert app.clients[name].heard.empty(), name


def is_covered(app: App, count: int) -> bool:
    """True if the app server has a session at each node."""
    return len(app.moorage.nodes) == count


def emit_by_rest(connection_string: str, hub: str) -> None:
    """Emit to the room through the REST API of a node without members."""
    with WebPubSubServiceClient.from_connection_string(connection_string, hub=hub) as rest:
        for number in range(EMITS):
            rest.send_to_group(room_group("/", "room"), f'42["rest",{number}]', content_type="text/plain")
