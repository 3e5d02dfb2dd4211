"""The WebSocket under a link: fragments, early messages, ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request
from websockets.typing import Subprotocol

from moorage.sdk.aio import websocket
from moorage.sdk.aio.dial import dial
from moorage.sdk.aio.websocket import LinkSocket
from moorage.sdk.errors import LinkUnavailable
from moorage.wire.connection_string import parse
from moorage.wire.moorage.v1 import SUBPROTOCOL
from moorage.wire.reasons import LINK_CLOSED

SECONDS = 30.0


class Ears:
    """What a socket tells its owner."""

    def __init__(self) -> None:
        self.messages: asyncio.Queue[bytes] = asyncio.Queue()
        self.ended = asyncio.Event()
        self.writable = asyncio.Event()
        self.socket = LinkSocket(
            lambda _, data: self.messages.put_nowait(data), lambda _: self.ended.set(), self.writable.set
        )

    async def next(self) -> bytes:
        """The next message."""
        async with asyncio.timeout(SECONDS):
            return await self.messages.get()


@asynccontextmanager
async def opened() -> AsyncIterator[tuple[Ears, ServerConnection]]:
    """Both ends of one."""
    accepted: asyncio.Queue[ServerConnection] = asyncio.Queue()

    async def take(connection: ServerConnection) -> None:
        accepted.put_nowait(connection)
        await connection.wait_closed()

    protocols = [Subprotocol(SUBPROTOCOL)]
    async with serve(take, "127.0.0.1", 0, subprotocols=protocols, max_size=None, close_timeout=1) as server:
        ears = Ears()
        port = next(iter(server.sockets)).getsockname()[1]
        target = parse(f"Endpoint=http://127.0.0.1:{port};AccessKey=key;")
        await dial(target, "app", "me", lambda: ears.socket)
        yield ears, await accepted.get()
        ears.socket.break_off()


async def test_given_up_while_it_opens() -> None:
    """It does not stay open when it opens after all."""
    gate, asked, closed = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def wait(connection: ServerConnection, request: Request) -> None:
        asked.set()
        await gate.wait()

    async def take(connection: ServerConnection) -> None:
        await connection.wait_closed()
        closed.set()

    protocols = [Subprotocol(SUBPROTOCOL)]
    async with serve(take, "127.0.0.1", 0, subprotocols=protocols, process_request=wait) as server:
        ears = Ears()
        port = next(iter(server.sockets)).getsockname()[1]
        target = parse(f"Endpoint=http://127.0.0.1:{port};AccessKey=key;")
        dialling = asyncio.create_task(dial(target, "app", "me", lambda: ears.socket))
        await asked.wait()
        dialling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await dialling
        ears.socket.break_off()
        gate.set()
        await asyncio.wait_for(closed.wait(), SECONDS)


async def test_messages_before_release_come_after_it() -> None:
    async with opened() as (ears, service):
        for text in (b"first", b"second", b"third"):
            await service.send(text)
        assert await asyncio.wait_for(ears.socket.first, SECONDS) == b"first"
        assert ears.messages.empty()
        ears.socket.release()
        assert [await ears.next(), await ears.next()] == [b"second", b"third"]


async def test_fragments() -> None:
    async with opened() as (ears, service):
        await service.send([b"fi", b"", b"rst"])
        assert await asyncio.wait_for(ears.socket.first, SECONDS) == b"first"
        ears.socket.release()
        await service.send([b"sec", b"ond"])
        await service.ping()
        await service.send(b"third")
        assert [await ears.next(), await ears.next()] == [b"second", b"third"]


async def test_fragments_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "MAX_MESSAGE", 1000)
    async with opened() as (ears, service):
        await service.send([b"x" * 400] * 4)
        await asyncio.wait_for(service.wait_closed(), SECONDS)
        assert (service.close_code, service.close_reason) == (1009, "link-frame-too-large")
        with pytest.raises(LinkUnavailable):
            await ears.socket.first


async def test_both_ends_write() -> None:
    async with opened() as (ears, service):
        ears.socket.write(b"x" * 100_000)
        assert await service.recv() == b"x" * 100_000


async def test_an_end_with_a_reason() -> None:
    async with opened() as (ears, service):
        await service.send(b"first")
        await asyncio.wait_for(ears.socket.first, SECONDS)
        await service.close(1008, "link-replaced")
        await asyncio.wait_for(ears.ended.wait(), SECONDS)
        assert ears.socket.reason == "link-replaced"
        ears.socket.write(b"into the void")
        ears.socket.break_off()


async def test_a_cut_before_the_first_message() -> None:
    async with opened() as (ears, service):
        service.transport.abort()
        with pytest.raises(LinkUnavailable, match="before greeting"):
            await asyncio.wait_for(ears.socket.first, SECONDS)
        assert not ears.ended.is_set(), "whoever waits for the first message knows"


async def test_farewell() -> None:
    async with opened() as (ears, service):
        await ears.socket.farewell(LINK_CLOSED)
        await asyncio.wait_for(service.wait_closed(), SECONDS)
        assert (service.close_code, service.close_reason) == (1000, "link-closed")
        await ears.socket.farewell(LINK_CLOSED)
        with pytest.raises(LinkUnavailable):
            await ears.socket.first


async def test_a_full_socket() -> None:
    async with opened() as (ears, service):
        service.transport.pause_reading()
        async with asyncio.timeout(SECONDS):
            while not ears.socket.full:
                ears.socket.write(b"x" * 100_000)
                await asyncio.sleep(0)
        service.transport.resume_reading()
        await asyncio.wait_for(ears.writable.wait(), SECONDS)
        service.transport.abort()
        with pytest.raises(LinkUnavailable):
            await ears.socket.first
