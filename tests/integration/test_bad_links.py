"""App servers that misbehave affect only their own link and their own clients."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress

import pytest

from moorage.wire.azure import tunnel_frames
from moorage.wire.moorage import v1
from tests.support.app_link import AppServer, tunnel_token
from tests.support.rawhttp import Polling, clients, fetch
from tests.support.rawws import BINARY, WebSocket, frame
from tests.support.service import MoorageProcess
from tests.support.tunnel_link import PROTOCOL, greeting, target

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def service() -> Iterator[MoorageProcess]:
    """A service with small limits for a link that does not read."""
    with MoorageProcess("--set", "limits.outbox_bytes_link=2MiB", "--set", "links.grace=20s") as running:
        yield running


@pytest.fixture(autouse=True)
async def bystander(service: MoorageProcess) -> AsyncIterator[None]:
    """A client and its app server, which must not be affected."""
    async with (
        AppServer(service, "calm"),
        await WebSocket.session(service.url, clients("calm")) as socket,
    ):
        before = service.memory("VmRSS")
        yield
        await socket.send('42["still here"]')
        assert await socket.text() == '42["still here"]'
        assert service.memory("VmRSS") < before + 64 * MIB
        assert not [line for line in service.lines if '"level": "error"' in line or "Traceback" in line]


class HandLink:
    """A link on which a test controls every byte. It accepts each client."""

    def __init__(self, socket: WebSocket) -> None:
        self.socket = socket

    @classmethod
    async def open(cls, service: MoorageProcess, hub: str, server_id: str) -> HandLink:
        """Dial, and read the greeting."""
        token = tunnel_token(service, hub, server_id)
        target = f"/server/tunnel?hub={hub}&access_token={token}"
        socket = await WebSocket.open(service.url, target)
        await socket.binary()
        return cls(socket)

    async def request(self) -> tuple[tunnel_frames.Request, bytes]:
        """The next event."""
        while True:
            found, content = tunnel_frames.decode(await self.socket.binary())
            if isinstance(found, tunnel_frames.Request):
                return found, content

    async def answer(self, ack_id: int, content: bytes = b"", status: int = 200) -> None:
        """Answer an event."""
        await self.socket.send(tunnel_frames.response(ack_id, status, content=content))

    async def take(self, opening: asyncio.Task[WebSocket]) -> WebSocket:
        """Accept the client that is opening."""
        event, _ = await self.request()
        terms = {"sid": "x", "pingInterval": 25000, "pingTimeout": 20000, "maxPayload": 1000000}
        await self.answer(event.ack_id, json.dumps({"socketio": terms}).encode())
        return await opening


def call(ack_id: int, url: str = "https://host/api/hubs/x/:send?api-version=1") -> bytes:
    """A frame with a call to an unknown connection."""
    text = {"Type": 1, "AckId": ack_id, "HttpMethod": "POST", "Url": url, "Headers": {}}
    return frame(BINARY, tunnel_frames.encode(1, json.dumps(text).encode(), b"2"))


async def test_a_link_that_stops_reading(service: MoorageProcess) -> None:
    slow = 'moorage_refusals_total{door="link",reason="link-slow"}'
    slow_before = service.metric(slow)
    link = await HandLink.open(service, "deaf", "s1")
    talkers = [
        await link.take(asyncio.create_task(WebSocket.session(service.url, clients("deaf"))))
        for _ in range(3)
    ]
    before = service.memory("VmRSS")
    packet = frame(1, b'42["' + b"x" * 100_000 + b'"]')

    async def talk(client: WebSocket) -> None:
        while True:
            client.http.writer.write(packet)
            await client.http.writer.drain()

    # The link is not read any more: the service stops reading from its clients, so their writes stop.
    talking = [asyncio.create_task(talk(client)) for client in talkers]
    done, _ = await asyncio.wait(talking, timeout=1)
    assert not done, "held back, not closed"
    assert service.memory("VmRSS") < before + 32 * MIB
    assert service.metric('moorage_tunnel_connections{dialect="azure",hub="deaf"}') == 1

    # The answers to its calls accumulate until the service closes the link.
    calls = call(1) * 5000
    with pytest.raises(ConnectionError):
        for _ in range(100):
            await link.socket.raw(calls)
    record = await asyncio.to_thread(service.wait_record, event="link ended", hub="deaf")
    assert record["reason"] == "link-slow"
    assert service.metric(slow) == slow_before + 1
    assert service.memory("VmRSS") < before + 32 * MIB

    # It reconnects, and its clients continue.
    for task in talking:
        task.cancel()
    await asyncio.wait(talking)
    async with AppServer(service, "deaf", "s1") as app:
        assert (await app.event("message")).content.startswith('42["x')
    for one in (*talkers, link.socket):
        await one.http.close()


async def test_random_bytes_on_a_link(service: MoorageProcess) -> None:
    noise = random.Random(3)
    for number in range(30):
        link = await HandLink.open(service, "noise", f"s{number}")
        async with link.socket as socket:
            await socket.raw(frame(BINARY, noise.randbytes(noise.choice([0, 3, 40, 4000]))))
            assert (await socket.ended())[1].code == 1002


async def test_frames_with_random_content(service: MoorageProcess) -> None:
    noise = random.Random(4)
    for number in range(30):
        link = await HandLink.open(service, "noise", f"t{number}")
        async with link.socket as socket:
            text = noise.randbytes(20).decode("latin-1").encode()
            await socket.send(tunnel_frames.encode(noise.choice([1, 2]), text, noise.randbytes(20)))
            assert (await socket.ended())[1].code == 1002


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"null",
        b"{}",
        b'{"socketio":null}',
        b'{"socketio":{"pingInterval":"x"}}',
        b'{"socketio":{"pingInterval":-1}}',
        b'{"socketio":{"pingInterval":0}}',
        b'{"socketio":{"maxPayload":0}}',
        b'{"socketio":{"maxPayload":-5}}',
        b'{"socketio":{"pingTimeout":1' + b"0" * 40 + b"}}",
        b'{"socketio":{"maxPayload":-1e999}}',
        b'{"socketio":{"maxPayload":"x"}}',
        b"[" * 100_000,
        b"\xff",
    ],
    ids=lambda content: content[:40].decode("latin-1"),
)
async def test_invalid_answers_to_connect(service: MoorageProcess, content: bytes) -> None:
    async with AppServer(service, "odd") as app:
        app.on_connect = lambda event: (200, content)
        reply = await fetch(service.url, clients("odd") + "?EIO=4&transport=polling")
        assert (reply.status, reply.json()["reason"]) == (502, "app-error")
        reply = await WebSocket.refused(service.url, clients("odd") + "?EIO=4&transport=websocket")
        assert reply.status == 502
        app.on_connect = app.accept
        await Polling(service.url, clients("odd")).open()


@pytest.mark.parametrize(
    "payload",
    ["", "\x1e", "40", "40{", '40{"sid":5}', "41{", "44/x", "b!!", "451-[]\x1eb!", "47", "999", "x"],
)
async def test_invalid_payloads_of_an_app_server(service: MoorageProcess, payload: str) -> None:
    """Every call is answered, and a payload that cannot be encoded does not affect the client."""
    async with (
        AppServer(service, "odd") as app,
        await WebSocket.session(service.url, clients("odd")) as client,
    ):
        status = await app.send(client.sid, payload)
        assert status in (202, 400)
        assert await app.send_all(payload) in (202, 400)
        await app.send(client.sid, '42["after"]')
        while await client.text() != '42["after"]':
            pass


async def test_invented_ack_ids(service: MoorageProcess) -> None:
    link = await HandLink.open(service, "acks", "s1")
    async with link.socket as socket:
        for ack_id in (0, -1, 2**31, 2**62, -(2**62)):
            await socket.send(tunnel_frames.response(ack_id, 200))
            await socket.raw(call(ack_id))
            answer, _ = tunnel_frames.decode(await socket.binary())
            while not isinstance(answer, tunnel_frames.Response):
                answer, _ = tunnel_frames.decode(await socket.binary())
            assert answer.ack_id == ack_id


# -- the moorage dialect ----------------------------------------------------------------------------------


async def our_link(service: MoorageProcess, hub: str) -> WebSocket:
    """A greeted link of the moorage dialect on which a test controls every byte."""
    socket = await WebSocket.open(service.url, target(service, hub), PROTOCOL)
    await socket.send(greeting())
    await socket.binary()
    return socket


def batch(number: int, *frames: v1.FromApp) -> bytes:
    """A message."""
    return v1.encode_batch(number, 0, [v1.encode_frame(frame) for frame in frames])


async def test_a_moorage_link_that_stops_reading(service: MoorageProcess) -> None:
    hub = "deaf2"
    link = await our_link(service, hub)
    talkers = []
    for number in range(1, 4):
        opening = asyncio.create_task(WebSocket.session(service.url, clients(hub)))
        while not any(isinstance(f, v1.Open) for f in (await frames_of(link))):
            pass
        await link.send(batch(number, v1.Opened(number, 25_000, 20_000, 1_000_000)))
        talkers.append(await opening)
    before = service.memory("VmRSS")
    packet = frame(1, b'42["' + b"x" * 100_000 + b'"]')

    async def talk(client: WebSocket) -> None:
        while True:
            client.http.writer.write(packet)
            await client.http.writer.drain()

    talking = [asyncio.create_task(talk(client)) for client in talkers]
    done, _ = await asyncio.wait(talking, timeout=1)
    assert not done, "held back, not closed"
    assert service.memory("VmRSS") < before + 32 * MIB
    assert service.metric(f'moorage_tunnel_connections{{dialect="moorage",hub="{hub}"}}') == 1

    # The answers to its requests accumulate until the service ends the session.
    lists = [v1.List(n) for n in range(1, 1_000)]
    with suppress(ConnectionError):
        for number in range(4, 1_000):
            await link.raw(frame(BINARY, batch(number, *lists)))
    record = await asyncio.to_thread(service.wait_record, event="link ended", hub=hub)
    assert record["reason"] == "link-slow"
    await asyncio.to_thread(service.wait_record, event="app server too slow", hub=hub)
    assert service.memory("VmRSS") < before + 32 * MIB
    for task in talking:
        task.cancel()
    await asyncio.wait(talking)
    for one in (*talkers, link):
        await one.http.close()


async def frames_of(link: WebSocket) -> list[v1.FromService]:
    """The frames of the next batch, which may have none."""
    return list(v1.decode_from_service(await link.binary()).frames)


async def test_random_bytes_on_a_moorage_link(service: MoorageProcess) -> None:
    noise = random.Random(5)
    for number in range(40):
        async with await our_link(service, f"noise{number}") as socket:
            data = noise.randbytes(noise.choice([0, 3, 40, 4000]))
            if number % 2:
                data = b"\x93\x01\x00" + data
            await socket.raw(frame(BINARY, data))
            assert (await socket.ended())[1].code == 1002


HUGE: dict[str, Callable[[], v1.FromApp]] = {
    "rooms": lambda: v1.Emit(1, v1.To("/", ("a",) * 1_000_000), 0, b"42[]"),
    "rooms-to-join": lambda: v1.Join(1, v1.To("/"), tuple(map(str, range(1_000_000)))),
    "long-room": lambda: v1.Join(1, v1.To("/"), ("x" * 15_000_000,)),
    "long-namespace": lambda: v1.Fetch(1, v1.To("/" + "x" * 15_000_000), 0),
    "packets": lambda: v1.Emit(1, v1.To("/"), 0, b"42[]\x1e" * 3_000_000 + b"b!"),
    "attachments": lambda: v1.Emit(1, v1.To("/"), 0, b"499999-[]\x1e" * 1_000_000 + b"b!"),
    "facts": lambda: v1.Facts(1, tuple(v1.Chunk(n, b"") for n in range(1_000_000))),
    "question": lambda: v1.Ask(1, v1.To("/"), 0, 2**53 - 1, b"42" + b"[" * 15_000_000),
}
"""Made by their test: each of pytest's processes imports this file."""


@pytest.mark.alone
@pytest.mark.parametrize("name", HUGE)
async def test_moorage_links_that_send_very_much(service: MoorageProcess, name: str) -> None:
    """Any content of a message is answered, and delays others only briefly."""
    hub = f"plenty_{name.replace('-', '_')}"
    much = HUGE[name]()
    async with (
        await our_link(service, hub) as link,
        AppServer(service, "other"),
        await WebSocket.session(service.url, clients("other")) as client,
    ):
        longest = 0.0

        async def chat() -> None:
            nonlocal longest
            while True:
                began = time.monotonic()
                await client.send('42["x"]')
                await client.text()
                longest = max(longest, time.monotonic() - began)

        chatting = asyncio.create_task(chat())
        await link.send(batch(1, much, v1.List(2)))
        servers = None
        while servers is None:
            servers = next((f for f in await frames_of(link) if isinstance(f, v1.Servers)), None)
        chatting.cancel()
        assert longest < 3.0, "this machine's share of a core included"
