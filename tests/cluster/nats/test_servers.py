"""Several NATS servers: a node finds all of them, and uses another one when its own is gone."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator

import pytest

from moorage.cluster.nats.broker import NatsBroker
from moorage.cluster.settings import ClusterSettings
from moorage.cluster.streams.streams import Receive, Streams
from moorage.wire.errors import UsageError
from tests.support.nats_server import NatsServer
from tests.support.programs import free_port

SECONDS = 30.0


async def until(true: Callable[[], bool]) -> None:
    """The broker has no events for its connections."""
    async with asyncio.timeout(SECONDS):
        while not true():
            await asyncio.sleep(0.02)


@pytest.fixture
def servers() -> Iterator[list[NatsServer]]:
    """Three servers that form a cluster."""
    ports = [free_port() for _ in range(3)]
    routes = ",".join(f"nats://127.0.0.1:{port}" for port in ports)
    made = [
        NatsServer("--cluster_name", "c", "--cluster", f"nats://127.0.0.1:{port}", "--routes", routes)
        for port in ports
    ]
    try:
        for server in made:
            server.start()
        yield made
    finally:
        for server in made:
            server.end()


class Node:
    """Streams over a broker. It knows one other node."""

    def __init__(self, name: str, other: str, *urls: str) -> None:
        self.broker = NatsBroker(ClusterSettings(nats_url=urls, name="c"), name)
        self.streams = Streams(self.broker, name)
        self.received: list[bytes] = []
        self.gaps = 0
        self.streams.start(Receive(self.take, lambda *_: None, self.gap))
        self.streams.add(other)

    def take(self, _node: str, message: bytes) -> None:
        self.received.append(message)

    def gap(self, _node: str) -> None:
        self.gaps += 1

    async def live(self) -> None:
        """Tick and send heartbeats, as the service does."""
        while True:
            self.streams.tick(time.monotonic())
            self.broker.tick(time.monotonic())
            self.streams.beat(b"")
            await asyncio.sleep(0.1)


@pytest.fixture
async def nodes(servers: list[NatsServer]) -> list[Node]:
    """Two nodes. Each is told of one server."""
    made = [Node("n0", "n1", servers[0].url), Node("n1", "n0", servers[1].url)]
    for node in made:
        await node.broker.connect()
    return made


async def test_nothing_is_lost_when_the_server_of_a_node_is_killed(
    servers: list[NatsServer], nodes: list[Node]
) -> None:
    here, there = nodes
    living = [asyncio.create_task(node.live()) for node in nodes]
    here.streams.send_all(b"first")
    await until(lambda: there.received == [b"first"])
    sent = [b"first"]
    for number in range(300):
        if number == 100:
            servers[0].end()
        message = b"%d" % number
        sent.append(message)
        if number % 2:
            here.streams.send("n1", message)
        else:
            here.streams.send_all(message)
        await asyncio.sleep(0.002)
    await until(lambda: len(there.received) == len(sent))
    assert there.received == sent
    assert there.gaps == 0
    assert here.broker.server in (servers[1].url, servers[2].url), "found by itself"
    for task in living:
        task.cancel()
    for node in nodes:
        node.streams.stop()
        await node.broker.closed()


async def test_all_servers_are_killed_and_started_again(servers: list[NatsServer], nodes: list[Node]) -> None:
    here, there = nodes
    living = [asyncio.create_task(node.live()) for node in nodes]
    here.streams.send_all(b"first")
    await until(lambda: there.received == [b"first"])
    for server in servers:
        server.end()
    await until(lambda: not here.broker.connected and not there.broker.connected)
    here.streams.send_all(b"second")
    here.streams.send("n1", b"third")
    for server in servers:
        server.start()
    await until(lambda: there.received == [b"first", b"second", b"third"])
    for task in living:
        task.cancel()
    for node in nodes:
        node.streams.stop()
        await node.broker.closed()


async def test_servers_that_cannot_be_reached_are_passed_over() -> None:
    """A server tells of others, as its configuration says. Of these only the last is one."""
    with NatsServer() as good:
        told = ["[", "", ":4222", "a..b:1", "127.0.0.1:port", "127.0.0.1:99999", good.url[len("nats://") :]]
        info = json.dumps({"max_payload": 1_000_000, "connect_urls": told})

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(f"INFO {info}\r\n".encode())
            await reader.readuntil(b"PING\r\n")
            writer.write(b"PONG\r\n")
            await taken.wait()
            writer.close()
            listening.close()

        taken = asyncio.Event()
        listening = await asyncio.start_server(answer, "127.0.0.1", 0)
        port = listening.sockets[0].getsockname()[1]
        broker = NatsBroker(ClusterSettings(nats_url=(f"nats://127.0.0.1:{port}",)), "n0")
        await broker.connect()
        taken.set()
        await until(lambda: broker.server == good.url and broker.connected)
        broker.stop()
        await broker.closed()


async def test_the_start_waits_for_a_server(caplog: pytest.LogCaptureFixture) -> None:
    server = NatsServer()
    broker = NatsBroker(ClusterSettings(nats_url=(server.url,), wait=SECONDS), "n0")
    connecting = asyncio.create_task(broker.connect())
    await until(lambda: any("waiting" in str(line.msg) for line in caplog.records))
    with server:
        await connecting
        assert broker.connected
        broker.stop()
        await broker.closed()


async def test_the_start_does_not_wait_longer_than_it_should() -> None:
    broker = NatsBroker(ClusterSettings(nats_url=(f"nats://127.0.0.1:{free_port()}",), wait=0.2), "n0")
    began = time.monotonic()
    with pytest.raises(UsageError, match=r"cluster\.nats_url: no NATS server can be used"):
        await broker.connect()
    assert time.monotonic() - began >= 0.2
