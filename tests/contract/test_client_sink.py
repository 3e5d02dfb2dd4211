"""Contract of `hub.ports.ClientSink`, for both transports and the test double.

The transports are real ones: clients on loopback, in front of a whole service that runs in this
process, so that the test holds the hub's end and the client's end of each.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Protocol

import pytest
import uvloop
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from moorage.app.service import Service
from moorage.config.model import Config, KeySettings
from moorage.edge.settings import ServerSettings
from moorage.hub import hub
from moorage.hub.connections import fanout
from moorage.hub.connections.fanout import Encoded
from moorage.hub.hub import AppServer, Connection
from moorage.hub.node import Node
from moorage.hub.ports import ClientSink
from moorage.wire.engineio import encode_binary
from moorage.wire.handshake import OpenInfo
from moorage.wire.reasons import API_CLOSED, APP_CLOSED, SLOW_CLIENT, TRANSPORT_LOST, Reason
from tests.hub.fakes import LEAST, RecordingLink, RecordingOpening, World, sink_of
from tests.support.rawhttp import Polling

GOODBYES = (b"6", b"1")
"""Packets that a transport may add at the end."""


class EndedLink(RecordingLink):
    """An app server whose notification of an end can be awaited."""

    def __init__(self) -> None:
        super().__init__()
        self.heard = asyncio.Event()

    def closed(self, connection: hub.Client, reason: Reason) -> None:
        super().closed(connection, reason)
        self.heard.set()


class FarEnd(Protocol):
    """The far end of a sink."""

    async def received(self) -> list[bytes]:
        """All packets that the client got until the end, in text form. Call after a close."""

    async def vanish(self) -> None:
        """Close the client's end without a close packet."""


class Subject:
    """A sink attached to a client of a node, and the client's end of it."""

    def __init__(self, node: Node, connection: Connection, link: EndedLink, client: FarEnd) -> None:
        self.node = node
        self.connection = connection
        self.link = link
        self.client = client

    @property
    def sink(self) -> ClientSink:
        """The hub's end."""
        sink = self.connection.outbox.sink
        assert sink is not None
        return sink

    def push(self, *payloads: bytes) -> None:
        """Queue emits."""
        for payload in payloads:
            fanout.push(self.connection, Encoded(payload), self.node.flusher)

    def end(self, reason: Reason) -> None:
        """Close from the service's side."""
        self.node.disconnect(self.connection, reason, who="service")


class DoubleClient:
    """The far end of the test double, which has none."""

    def __init__(self, node: Node, connection: Connection) -> None:
        self._node = node
        self._connection = connection
        self._sink = sink_of(connection)

    async def received(self) -> list[bytes]:
        return self._sink.packets

    async def vanish(self) -> None:
        self._node.disconnect(self._connection, TRANSPORT_LOST, who="client")


@asynccontextmanager
async def double() -> AsyncIterator[Subject]:
    """The test double."""
    world, link = World(), EndedLink()
    world.server()[0].link = link
    link.on_open = lambda connection: world.node.accept(connection, OpenInfo())
    connection = world.open(RecordingOpening())
    yield Subject(world.node, connection, link, DoubleClient(world.node, connection))


@asynccontextmanager
async def service() -> AsyncIterator[tuple[str, Node, EndedLink]]:
    """A listening service with an app server that accepts every client."""
    running = Service(Config(server=ServerSettings(port=0), keys=KeySettings(primary="k" * 32)))
    link = EndedLink()
    link.on_open = lambda connection: running.node.accept(connection, OpenInfo())
    server = AppServer("s1", link, "test", LEAST)
    server.up = True
    running.node.ensure_hub("app").servers.add(server)
    url = await running.port.start()
    yield url, running.node, link
    await running.port.stop()


class WebSocketClient:
    """On a real WebSocket."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket

    async def received(self) -> list[bytes]:
        packets: list[bytes] = []
        try:
            while True:
                message = await self._socket.recv()
                packets.append(message.encode() if isinstance(message, str) else encode_binary(message))
        except ConnectionClosed:
            return packets

    async def vanish(self) -> None:
        self._socket.transport.abort()


@asynccontextmanager
async def websocket() -> AsyncIterator[Subject]:
    """`ClientSocket`, the WebSocket transport."""
    async with service() as (url, node, link):
        target = f"{url.replace('http', 'ws', 1)}/socket.io/?EIO=4&transport=websocket"
        async with connect(target, compression=None, proxy=None) as socket:
            assert str(await socket.recv())[0] == "0"
            yield Subject(node, link.opened[0][0], link, WebSocketClient(socket))


class PollingClient:
    """Polls from the start."""

    def __init__(self, polling: Polling) -> None:
        self._polling = polling
        self._polls = asyncio.create_task(self._poll())

    async def _poll(self) -> list[bytes]:
        packets: list[bytes] = []
        while b"1" not in packets:
            reply = await self._polling.get()
            if reply.status != 200:
                # An end without a close packet.
                break
            packets += reply.body.split(b"\x1e")
        return packets

    async def received(self) -> list[bytes]:
        return await self._polls

    async def vanish(self) -> None:
        self._polls.cancel()


@asynccontextmanager
async def polling() -> AsyncIterator[Subject]:
    """`PollingSession`, the polling transport."""
    async with service() as (url, node, link):
        opened = await Polling(url, "/socket.io/").open()
        connection = link.opened[0][0]
        client = PollingClient(opened)
        while not connection.outbox.ready:
            # Wait for the first poll; the time limit of the test ends this loop otherwise.
            await asyncio.sleep(0)
        yield Subject(node, connection, link, client)
        client._polls.cancel()
        await asyncio.wait((client._polls,))


KINDS = {"double": double, "websocket": websocket, "polling": polling}


def for_every_sink(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Runs a coroutine of a `Subject` with each kind, on uvloop: transports differ from loop to
    loop, and that one is the service's."""

    def run(kind: str, **given: object) -> None:
        async def play() -> None:
            async with KINDS[kind]() as subject:
                await test(subject, **given)

        uvloop.run(play())

    first, *others = inspect.signature(test).parameters.values()
    run.__signature__ = inspect.Signature([first.replace(name="kind"), *others])  # type: ignore[attr-defined]
    return pytest.mark.parametrize("kind", KINDS)(run)


def without_goodbye(packets: list[bytes]) -> list[bytes]:
    """The packets from the hub."""
    while packets and packets[-1] in GOODBYES:
        packets = packets[:-1]
    return packets


@for_every_sink
async def test_the_form_of_packets_depends_on_the_transport(subject: Subject) -> None:
    assert subject.sink.framed == (subject.sink.transport == "websocket")


@for_every_sink
async def test_written_packets_arrive_in_order(subject: Subject) -> None:
    sent: list[bytes] = []
    for number in range(20):
        attachment = encode_binary(b"\0\xff")
        payload = b'42["x",%d]' % number if number % 3 else b"451-[%d]\x1e%b" % (number, attachment)
        subject.push(payload)
        sent += payload.split(b"\x1e")
        if number % 4 == 0:
            # The flush, and the transport's own work.
            subject.node.flusher.run()
            await asyncio.sleep(0)
    subject.end(APP_CLOSED)
    assert without_goodbye(await subject.client.received()) == sent


@pytest.mark.parametrize("reason", [APP_CLOSED, API_CLOSED])
@pytest.mark.parametrize("packets", [[], [b'42["last"]'], [b"42[1]", b"42[2]"]])
@for_every_sink
async def test_queued_packets_arrive_before_the_close(
    subject: Subject, reason: Reason, packets: list[bytes]
) -> None:
    subject.push(*packets)
    subject.end(reason)
    received = await subject.client.received()
    assert without_goodbye(received) == packets
    if not isinstance(subject.client, DoubleClient):
        assert received[-1] == b"1"


@for_every_sink
async def test_no_packet_arrives_after_the_end(subject: Subject) -> None:
    subject.end(APP_CLOSED)
    subject.push(b'42["late"]')
    subject.node.flusher.run()
    assert b'42["late"]' not in await subject.client.received()


@for_every_sink
async def test_a_slow_client_is_closed(subject: Subject) -> None:
    subject.push(b'42["too much"]')
    subject.connection.outbox.spill()
    subject.end(SLOW_CLIENT)
    assert b'42["too much"]' not in await subject.client.received()
    assert [reason for _, reason in subject.link.ended] == [SLOW_CLIENT]


@for_every_sink
async def test_progress_is_a_number(subject: Subject) -> None:
    assert subject.sink.progress() >= 0
    subject.push(b"42[1]")
    subject.node.flusher.run()
    assert subject.sink.progress() >= 0
    subject.end(APP_CLOSED)
    await subject.client.received()


@for_every_sink
async def test_reading_pauses_and_resumes_in_any_order(subject: Subject) -> None:
    for _ in range(2):
        subject.sink.pause_reading()
        subject.sink.pause_reading()
        subject.sink.resume_reading()
        subject.sink.resume_reading()
    subject.push(b"42[1]")
    subject.end(APP_CLOSED)
    assert b"42[1]" in await subject.client.received()


@for_every_sink
async def test_calls_after_the_client_is_gone_do_not_raise(subject: Subject) -> None:
    sink = subject.sink
    await subject.client.vanish()
    await subject.link.heard.wait()
    sink.pause_reading()
    sink.resume_reading()
    subject.push(b"42[1]")
    subject.node.flusher.run()
    subject.end(APP_CLOSED)
    assert [reason for _, reason in subject.link.ended] == [TRANSPORT_LOST]
