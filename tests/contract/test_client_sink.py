"""`hub.ports.ClientSink`: what the hub may count on, from both transports and from the test double.

The WebSocket is a real one over loopback; the polls are taken from the session as the HTTP door
takes them.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Protocol

import pytest
import uvloop
from picows import WSUpgradeRequest, ws_create_server
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from moorage.auth import AccessKeys, AuthSettings
from moorage.edge.clients import ClientDoor
from moorage.edge.polling import PollingDoor, PollingSession
from moorage.edge.settings import CorsSettings, ServerSettings
from moorage.edge.websocket import ClientSocket, SocketDoor
from moorage.engine.upgrade import Step
from moorage.hub.connection import Connection
from moorage.hub.fanout import Encoded
from moorage.hub.ports import ClientSink
from moorage.wire.cloudevents import OpenInfo
from moorage.wire.engineio import encode_binary
from moorage.wire.reasons import API_CLOSED, APP_CLOSED, DRAINING, SLOW_CLIENT, TRANSPORT_LOST, Reason
from tests.hub.fakes import RecordingLink, RecordingSink, World

GOODBYES = (b"6", b"1")
"""What a transport may add of its own at the end."""


class Opening:
    """Accepts, and leaves the sink to the test."""

    def accepted(self, connection: Connection, info: OpenInfo) -> None:
        """Nothing to tell yet."""

    def refused(self, reason: Reason, detail: str) -> None:
        """Does not happen here."""


class Subject(Protocol):
    """A sink attached to a client of a real node, with the client's end of it."""

    world: World
    connection: Connection
    sink: ClientSink
    says_goodbye: bool
    """Has a client's end that is told of the end."""

    async def received(self) -> list[bytes]:
        """All packets that the client got until the end, in text form. Call after a close."""

    async def vanish(self) -> None:
        """The client is gone without a word, and the transport knows."""


def begin(step: Step) -> tuple[World, Connection, RecordingLink]:
    """A node and an accepted client."""
    world = World()
    _, link = world.server()
    connection = world.open(Opening())
    connection.session.step(step)
    return world, connection, link


class DoubleSubject:
    """The double that the hub's tests use."""

    says_goodbye = False

    def __init__(self) -> None:
        self.world, self.connection, _ = begin(Step.OPENED_WEBSOCKET)
        self._sink = RecordingSink()
        self.sink: ClientSink = self._sink
        self.connection.outbox.attach(self._sink, ready=True)

    async def received(self) -> list[bytes]:
        return self._sink.packets

    async def vanish(self) -> None:
        self.world.node.disconnect(self.connection, TRANSPORT_LOST, who="client")


def client_door(world: World) -> ClientDoor:
    """The door before both transports."""
    return ClientDoor(
        node=world.node,
        keys=AccessKeys("k" * 32),
        auth_settings=AuthSettings(),
        server=ServerSettings(),
        cors=CorsSettings(),
        default_hub="app",
        metrics=world.metrics,
        wall_clock=lambda: 0.0,
    )


class PollingSubject:
    """Long-polling: one poll takes one write."""

    says_goodbye = True

    def __init__(self) -> None:
        self.world, self.connection, _ = begin(Step.OPENED_POLLING)
        self._session = PollingSession(
            PollingDoor(client_door(self.world), clock=lambda: 0.0), self.connection
        )
        self.sink: ClientSink = self._session
        self.connection.outbox.attach(self._session, ready=False)
        self._payloads: list[bytes] = []
        self._poll = self._session.poll()

    async def received(self) -> list[bytes]:
        while True:
            payload = await self._poll
            self._payloads.append(payload)
            if b"1" in payload.split(b"\x1e"):
                return [packet for taken in self._payloads for packet in taken.split(b"\x1e")]
            self._poll = self._session.poll()

    async def vanish(self) -> None:
        self._session.abandoned(self._poll)


class EndedLink(RecordingLink):
    """An app server that can be waited for to hear of an end."""

    def __init__(self) -> None:
        super().__init__()
        self.heard = asyncio.Event()

    def closed(self, connection: Connection, reason: Reason) -> None:
        super().closed(connection, reason)
        self.heard.set()


class WebSocketSubject:
    """A real WebSocket, on the event loop that the service uses."""

    says_goodbye = True

    def __init__(self) -> None:
        self.world, self.connection, _ = begin(Step.OPENED_WEBSOCKET)
        self._link = self.connection.server.link = EndedLink()
        door = SocketDoor(
            client_door(self.world), release_poll=_nothing, upgraded=_nothing, clock=lambda: 0.0
        )
        self._socket = ClientSocket(door, self.connection, probing=False)
        self.sink: ClientSink = self._socket
        self._peer: ClientConnection

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Listen, connect, attach; and clean up."""

        def listener(_request: WSUpgradeRequest) -> ClientSocket:
            return self._socket

        server = await ws_create_server(listener, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with connect(f"ws://127.0.0.1:{port}/", compression=None, proxy=None) as self._peer:
            self.connection.outbox.attach(self._socket, ready=True)
            yield
        self._socket.abort()
        server.close()
        await server.wait_closed()

    async def received(self) -> list[bytes]:
        packets: list[bytes] = []
        try:
            while True:
                message = await self._peer.recv()
                packets.append(message.encode() if isinstance(message, str) else encode_binary(message))
        except ConnectionClosed:
            return packets

    async def vanish(self) -> None:
        self._peer.transport.abort()
        await self._link.heard.wait()


def _nothing(_connection: Connection) -> None:
    pass


@asynccontextmanager
async def subject_of(kind: str) -> AsyncIterator[Subject]:
    """One of each kind of sink, in use."""
    if kind == "double":
        yield DoubleSubject()
    elif kind == "polling":
        yield PollingSubject()
    else:
        found = WebSocketSubject()
        async with found.running():
            yield found


def for_every_sink(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Runs a coroutine of a `Subject` with each kind, on uvloop: transports differ from loop to
    loop, and that one is the service's."""

    def run(kind: str, **given: object) -> None:
        async def play() -> None:
            async with subject_of(kind) as subject:
                await test(subject, **given)

        uvloop.run(play())

    first, *others = inspect.signature(test).parameters.values()
    run.__signature__ = inspect.Signature([first.replace(name="kind"), *others])  # type: ignore[attr-defined]
    return pytest.mark.parametrize("kind", ["double", "polling", "websocket"])(run)


def without_goodbye(packets: list[bytes]) -> list[bytes]:
    """What came from the hub."""
    while packets and packets[-1] in GOODBYES:
        packets = packets[:-1]
    return packets


@for_every_sink
async def test_the_form_goes_with_the_transport(subject: Subject) -> None:
    assert subject.sink.framed == (subject.sink.transport == "websocket")


@for_every_sink
async def test_all_that_is_written_arrives_in_order(subject: Subject) -> None:
    sent: list[bytes] = []
    for number in range(20):
        payload = (
            b'42["text",%d]' % number
            if number % 3
            else b"451-[%d]\x1e%b" % (number, encode_binary(b"\0\xff"))
        )
        subject.connection.outbox.push(Encoded(payload))
        sent += payload.split(b"\x1e")
        if number % 4 == 0:
            subject.world.settle()
    subject.world.settle()
    subject.world.node.disconnect(subject.connection, APP_CLOSED, who="app")
    assert without_goodbye(await subject.received()) == sent


@pytest.mark.parametrize("reason", [APP_CLOSED, API_CLOSED, DRAINING])
@pytest.mark.parametrize("packets", [[], [b'42["last"]'], [b"42[1]", b"42[2]"]])
@for_every_sink
async def test_the_rest_comes_before_the_goodbye(
    subject: Subject, reason: Reason, packets: list[bytes]
) -> None:
    for packet in packets:
        subject.connection.outbox.push(Encoded(packet))
    subject.world.node.disconnect(subject.connection, reason, who="service")
    received = await subject.received()
    assert without_goodbye(received) == packets
    if subject.says_goodbye:
        assert received[-1] == b"1"


@for_every_sink
async def test_nothing_comes_after_the_end(subject: Subject) -> None:
    subject.world.node.disconnect(subject.connection, APP_CLOSED, who="app")
    subject.connection.outbox.push(Encoded(b'42["late"]'))
    subject.world.settle()
    assert b'42["late"]' not in await subject.received()


@for_every_sink
async def test_a_slow_client_is_let_go(subject: Subject) -> None:
    subject.connection.outbox.limit = 10
    subject.connection.outbox.push(Encoded(b'42["too much"]'))
    subject.world.settle()
    assert b'42["too much"]' not in await subject.received()
    assert subject.world.metrics.disconnects == {SLOW_CLIENT.name: 1}


@for_every_sink
async def test_reading_stops_and_goes_on_in_any_order(subject: Subject) -> None:
    for _ in range(2):
        subject.sink.pause_reading()
        subject.sink.pause_reading()
        subject.sink.resume_reading()
        subject.sink.resume_reading()
    subject.connection.outbox.push(Encoded(b"42[1]"))
    subject.world.node.disconnect(subject.connection, APP_CLOSED, who="app")
    assert b"42[1]" in await subject.received()


@for_every_sink
async def test_nothing_raises_once_the_client_is_gone(subject: Subject) -> None:
    await subject.vanish()
    assert subject.world.metrics.disconnects.total() == 1
    subject.sink.pause_reading()
    subject.sink.resume_reading()
    subject.connection.outbox.push(Encoded(b"42[1]"))
    subject.world.settle()
    subject.world.node.disconnect(subject.connection, APP_CLOSED, who="app")
    assert subject.world.metrics.disconnects.total() == 1
