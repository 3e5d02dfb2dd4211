"""Compressed WebSocket messages on a real service, with clients by hand."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from moorage.hub.outbox import SLICE
from moorage.wire.deflate.messages import inflate
from moorage.wire.deflate.negotiation import ANSWER
from tests.support.app_link import AppServer
from tests.support.rawhttp import Polling, clients
from tests.support.rawws import BINARY, CONTINUATION, PING, TEXT, WebSocket, frame
from tests.support.service import MoorageProcess
from tests.wire.deflate.test_messages import packed

OFFER = {"Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits"}
RSV1 = 4
NEWS = '42["news","%s"]' % ("abc" * 2000)


@pytest.fixture(scope="module")
def service() -> Iterator[MoorageProcess]:
    """A service that agrees to compression."""
    with MoorageProcess("--set=server.compression.enabled=true", "--set=limits.max_payload=100KB") as running:
        yield running


async def opened(service: MoorageProcess, hub: str, headers: dict[str, str] | None = None) -> WebSocket:
    """A new session."""
    return await WebSocket.session(service.url, clients(hub), "", OFFER if headers is None else headers)


async def received(socket: WebSocket) -> tuple[bool, str]:
    """The next message: whether it was compressed, and its text."""
    first, second = await socket.http.reader.readexactly(2)
    size = second
    if size > 125:
        size = int.from_bytes(await socket.http.reader.readexactly(2 if size == 126 else 8), "big")
    data = await socket.http.reader.readexactly(size)
    is_packed = bool(first & 0x40)
    return is_packed, (inflate(data, 10**6) if is_packed else data).decode()


async def test_a_broadcast_is_compressed_for_those_who_take_it(service: MoorageProcess) -> None:
    saved = service.metric("moorage_compression_saved_bytes_total")
    before = service.metric("moorage_compressed_broadcasts_total")
    async with AppServer(service, "app") as app:
        polling = await Polling(service.url, clients("app")).open()
        async with (
            await opened(service, "app") as first,
            await opened(service, "app") as second,
            await opened(service, "app", {}) as plain,
        ):
            await app.send_all(NEWS)
            assert await received(first) == await received(second) == (True, NEWS)
            assert await received(plain) == (False, NEWS)
            assert (await polling.get()).text == NEWS
            # Short ones, and those for one client, are sent as they are; the order holds.
            await app.send_all("42[1]")
            await app.send(first.sid, NEWS)
            await app.send_all(NEWS)
            assert [await received(first) for _ in range(3)] == [
                (False, "42[1]"), (False, NEWS), (True, NEWS)
            ]  # fmt: skip
    assert service.metric("moorage_compressed_broadcasts_total") == before + 2
    assert service.metric("moorage_compression_saved_bytes_total") - saved > 4 * 5_000


async def test_the_answer_to_an_offer(service: MoorageProcess, hub: str = "answers") -> None:
    target = f"{clients(hub)}?EIO=4&transport=websocket"
    async with AppServer(service, hub):
        for headers, expected in ((OFFER, ANSWER), ({}, None)):
            socket, reply = await WebSocket.ask(service.url, target, headers)
            async with socket:
                assert reply.headers.get("sec-websocket-extensions") == expected


async def test_off_by_default() -> None:
    with MoorageProcess() as service:
        async with AppServer(service, "app") as app, await opened(service, "app") as socket:
            await app.send_all(NEWS)
            assert await received(socket) == (False, NEWS)
            await socket.raw(frame(TEXT, packed(b"42[1]"), rsv=RSV1))
            assert (await socket.ended())[1].code == 1002


async def test_what_a_client_compresses(service: MoorageProcess) -> None:
    async with AppServer(service, "echo"), await opened(service, "echo") as socket:
        large = f'42["{"x" * 90_000}"]'
        whole = packed(large.encode())
        third = len(whole) // 3
        await socket.raw(frame(TEXT, whole, rsv=RSV1))
        assert await socket.text() == large
        await socket.raw(frame(TEXT, whole[:third], fin=False, rsv=RSV1))
        await socket.raw(frame(PING, b"?"))
        await socket.raw(frame(CONTINUATION, whole[third:]))
        assert (await socket.frame()).payload == b"?"
        assert await socket.text() == large
        await socket.raw(frame(TEXT, b"42[", fin=False) + frame(CONTINUATION, b"2]"))
        assert await socket.text() == "42[2]"
        await socket.raw(frame(TEXT, b'451-["e",{"_placeholder":true,"num":0}]'))
        await socket.raw(frame(BINARY, packed(bytes(1000)), rsv=RSV1))
        assert (await socket.text()).startswith("451-")
        assert await socket.binary() == bytes(1000)


async def test_a_bomb_ends_its_client_alone(service: MoorageProcess) -> None:
    bomb = packed(bytes(50_000_000), level=9)
    async with AppServer(service, "bomb"), await opened(service, "bomb") as other:
        before = service.memory("VmHWM")
        for frames in (
            frame(TEXT, bomb, rsv=RSV1),
            frame(TEXT, bomb[:100], fin=False, rsv=RSV1) + frame(CONTINUATION, bomb[100:]),
        ):
            async with await opened(service, "bomb") as socket:
                await socket.raw(frames)
                ended = (await socket.ended())[1]
                assert (ended.code, ended.reason) == (1009, "payload-too-large")
        assert service.memory("VmHWM") - before < 4_000_000
        await other.send("42[1]")
        assert await other.text() == "42[1]"


@pytest.mark.parametrize(
    "frames",
    [
        frame(TEXT, b"\xff\xff\xff", rsv=RSV1),
        frame(TEXT, packed(b"42[1]"), rsv=RSV1 | 2),
        frame(TEXT, b"42", fin=False) + frame(CONTINUATION, packed(b"[1]"), rsv=RSV1),
        frame(PING, b"", rsv=RSV1),
        frame(TEXT, b"42", fin=False) + frame(TEXT, packed(b"42[1]"), rsv=RSV1),
    ],
)
async def test_broken_frames(service: MoorageProcess, frames: bytes) -> None:
    async with AppServer(service, "broken"), await opened(service, "broken") as socket:
        await socket.raw(frames)
        assert (await socket.ended())[1].code == 1002


async def test_text_that_is_not_utf8(service: MoorageProcess) -> None:
    async with AppServer(service, "text"), await opened(service, "text") as socket:
        await socket.raw(frame(TEXT, packed(b'42["\xff"]'), rsv=RSV1))
        assert (await socket.ended())[1].code == 1007


async def test_an_upgrade_takes_compression_too(service: MoorageProcess) -> None:
    async with AppServer(service, "up") as app:
        client = await Polling(service.url, clients("up")).open()
        target = f"{clients('up')}?EIO=4&transport=websocket&sid={client.sid}"
        async with await WebSocket.open(service.url, target, OFFER) as socket:
            await socket.raw(frame(TEXT, packed(b"2probe"), rsv=RSV1))
            assert await socket.text() == "3probe"
            await socket.send("5")
            await socket.send("42[1]")
            assert await socket.text() == "42[1]"
            await app.send_all(NEWS)
            assert await received(socket) == (True, NEWS)


async def test_a_large_room(service: MoorageProcess) -> None:
    """Above the number of clients from which a fan-out is written in slices."""
    async with AppServer(service, "large") as app:
        sockets = [await opened(service, "large", OFFER if n % 2 else {}) for n in range(SLICE + 10)]
        await app.send_all(NEWS)
        for number, socket in enumerate(sockets):
            assert await received(socket) == (bool(number % 2), NEWS)
        for socket in sockets:
            await socket.http.close()
