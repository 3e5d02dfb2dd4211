"""What the broker on NATS does beyond the port's contract: large messages, failing servers, bad input."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from moorage.cluster.nats.broker import NatsBroker
from moorage.cluster.settings import ClusterSettings
from tests.support.log_lines import fields
from tests.support.nats_server import NatsServer

SECONDS = 30.0


@pytest.fixture
def server() -> Iterator[NatsServer]:
    with NatsServer() as running:
        yield running


class Place:
    """A broker, and what it has received."""

    def __init__(self, node: str, cluster: str, *urls: str) -> None:
        self.broker = NatsBroker(ClusterSettings(nats_url=urls, name=cluster), node)
        self.received: asyncio.Queue[bytes] = asyncio.Queue()
        self.broker.start(self.received.put_nowait)

    async def next(self) -> bytes:
        async with asyncio.timeout(SECONDS):
            return await self.received.get()


@asynccontextmanager
async def pair(*urls: str, cluster: str = "") -> AsyncIterator[tuple[Place, Place]]:
    """Two connected brokers."""
    cluster = cluster or secrets.token_hex(8)
    places = [Place(name, cluster, *urls) for name in ("n0", "n1")]
    try:
        for place in places:
            await place.broker.connect()
        yield places[0], places[1]
    finally:
        for place in places:
            place.broker.stop()
            await place.broker.closed()


async def until_connected(place: Place) -> None:
    """The connection has no event for it."""
    async with asyncio.timeout(SECONDS):
        while not place.broker.connected:
            await asyncio.sleep(0.02)


async def test_messages_above_the_limit_of_the_server_arrive_in_order(server: NatsServer) -> None:
    async with pair(server.url) as (here, there):
        messages = [b"small", b"x" * 3_000_000, b"small again", b"y" * 1024 * 1024, b""]
        for number, message in enumerate(messages):
            if number % 2:
                here.broker.send_all(message)
            else:
                here.broker.send("n1", message)
        assert [await there.next() for _ in messages] == messages


async def test_after_a_restart_of_the_server_messages_flow_again(server: NatsServer) -> None:
    async with pair(server.url) as places:
        server.end()
        async with asyncio.timeout(SECONDS):
            while any(place.broker.connected for place in places):
                await asyncio.sleep(0.02)
        places[0].broker.send("n1", b"lost")
        server.start()
        for place in places:
            await until_connected(place)
        places[0].broker.send("n1", b"again")
        assert await places[1].next() == b"again"


async def test_a_node_uses_another_server_when_one_fails(server: NatsServer) -> None:
    with NatsServer() as other:
        place = Place("n0", "c", other.url, server.url)
        await place.broker.connect()
        assert place.broker.server == other.url
        other.end()
        async with asyncio.timeout(SECONDS):
            while place.broker.server != server.url:
                await asyncio.sleep(0.02)
        place.broker.stop()
        await place.broker.closed()


async def test_garbage_is_counted_and_changes_nothing(
    server: NatsServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with pair(server.url, cluster="live") as (here, there):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        await reader.readline()
        writer.write(b'CONNECT {"verbose":false}\r\n')
        for garbage in (b"", b"\x02abc", b"\x01short"):
            for subject in (b"moorage.live.all", b"moorage.live.node.n1"):
                writer.write(b"PUB %b %d\r\n%b\r\n" % (subject, len(garbage), garbage))
        writer.write(b"PING\r\n")
        await reader.readuntil(b"PONG\r\n")
        here.broker.send("n1", b"good")
        assert await there.next() == b"good"
        assert there.broker.bad == 6
        # Each of the two nodes has one line for all of it.
        events = [fields(record)["event"] for record in caplog.records if record.levelno == logging.WARNING]
        assert events == ["chunks that no node sends were dropped"] * 2
        writer.close()
        await writer.wait_closed()


async def test_an_id_that_is_no_word_of_a_subject_gets_nothing(server: NatsServer) -> None:
    async with pair(server.url) as (here, there):
        for node in ("", "n1 3\r\nabc\r\nPUB x", "*", ">", "n1.x", "n" * 65):
            here.broker.send(node, b"abc")
        here.broker.send("n1", b"good")
        assert await there.next() == b"good"


async def test_a_server_that_falls_silent_is_given_up(server: NatsServer) -> None:
    async with pair(server.url) as (here, _):
        server.pause()
        for now in (10.0, 20.0, 30.0):
            here.broker.tick(now)
        async with asyncio.timeout(SECONDS):
            while here.broker.connected:
                await asyncio.sleep(0.02)
        server.go_on()
        await until_connected(here)


async def test_what_is_sent_at_the_end_of_a_turn_comes_behind_what_was_sent_in_it(server: NatsServer) -> None:
    async with pair(server.url) as (here, there):
        here.broker.soon(lambda: here.broker.send("n1", b"2"))
        here.broker.send("n1", b"1")
        assert [await there.next(), await there.next()] == [b"1", b"2"]
        # Without a connection, the call is made all the same.
        here.broker.stop()
        made = asyncio.Event()
        here.broker.soon(made.set)
        async with asyncio.timeout(SECONDS):
            await made.wait()
