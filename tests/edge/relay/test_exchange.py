"""One relayed request, against an owner that the test plays."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from moorage.edge.http.asgi import GoneError
from moorage.edge.http.protocol import TURN, Turn
from moorage.edge.relay.exchange import Exchange
from moorage.edge.unconfirmed import TRANSPORT

HEAD = b"POST /x HTTP/1.1\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n"
SECONDS = 10.0


class Front:
    """The connection of the client, as an ASGI application sees it."""

    def __init__(self, *headers: tuple[bytes, bytes]) -> None:
        self.incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.sent: list[dict[str, Any]] = []
        self.turn = Turn()
        self.aborted = False
        self.scope = {"headers": headers, "extensions": {TURN: self.turn, TRANSPORT: self}}

    def abort(self) -> None:
        """As of a transport."""
        self.aborted = True

    def body(self, data: bytes, *, more: bool = False) -> None:
        """The client sends a part of its body."""
        self.incoming.put_nowait({"type": "http.request", "body": data, "more_body": more})

    def leave(self) -> None:
        """The client disconnects."""
        self.incoming.put_nowait({"type": "http.disconnect"})

    async def send(self, message: Any) -> None:
        """Takes a part of the answer."""
        self.sent.append(message)

    @property
    def answer(self) -> bytes:
        """The body of the answer so far."""
        return b"".join(message.get("body", b"") for message in self.sent)


class Owner:
    """The owner's end."""

    def __init__(self) -> None:
        self.writers: list[asyncio.StreamWriter] = []
        self.accepted: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()

    async def start(self) -> None:
        """Listen."""
        self.server = await asyncio.start_server(
            lambda reader, writer: self.accepted.put_nowait((reader, writer)), "127.0.0.1", 0
        )

    async def begin(self, front: Front) -> tuple[asyncio.Task[bool], Any, Any]:
        """Start an exchange. Returns it, and the owner's reader and writer."""
        reader, writer = await asyncio.open_connection(*self.server.sockets[0].getsockname())
        running = asyncio.ensure_future(
            Exchange(reader, writer).run(HEAD, front.scope, front.incoming.get, front.send)
        )
        found = await self.accepted.get()
        self.writers.append(found[1])
        return (running, *found)


@pytest.fixture
async def owner() -> AsyncIterator[Owner]:
    made = Owner()
    await made.start()
    async with asyncio.timeout(SECONDS):
        yield made
    for writer in made.writers:
        # The event loop of Python 3.11 fails if a connection is aborted that has been closed with data left.
        if not writer.is_closing():
            writer.transport.abort()
    made.server.close()
    await asyncio.sleep(0)


async def test_body_and_answer_are_streams(owner: Owner) -> None:
    front = Front()
    running, reader, writer = await owner.begin(front)
    front.body(b"one", more=True)
    assert await reader.readexactly(len(HEAD) + 3) == HEAD + b"one"
    front.body(b"two")
    assert await reader.readexactly(3) == b"two"
    writer.write(OK + b"ab")
    while front.answer != b"ab":
        await asyncio.sleep(0)
    writer.write(b"cd")
    assert await running
    assert front.answer == b"abcd"
    assert front.sent[0]["status"] == 200
    assert not front.sent[-1].get("more_body")
    assert front.turn.waiter is None


async def test_a_body_in_chunks_stays_one(owner: Owner) -> None:
    front = Front((b"transfer-encoding", b"chunked"))
    running, reader, writer = await owner.begin(front)
    front.body(b"one", more=True)
    front.body(b"")
    sent = b"3\r\none\r\n0\r\n\r\n"
    assert await reader.readexactly(len(HEAD + sent)) == HEAD + sent
    writer.write(OK + b"abcd")
    assert await running


async def test_an_answer_without_a_length_ends_with_the_connection(owner: Owner) -> None:
    front = Front()
    running, _, writer = await owner.begin(front)
    writer.write(b"HTTP/1.1 404 Not Found\r\n\r\nabc")
    writer.close()
    assert await running
    assert (front.sent[0]["status"], front.answer) == (404, b"abc")


async def test_an_early_answer_ends_the_request(owner: Owner) -> None:
    front = Front()
    running, _, writer = await owner.begin(front)
    front.body(b"x" * 1000, more=True)
    writer.write(OK + b"abcd")
    assert await running
    assert front.answer == b"abcd"


@pytest.mark.parametrize("text", [b"", b"HTTP/1.1 20", b"nonsense\r\n\r\n", b"x" * 200_000])
async def test_an_owner_without_an_answer(text: bytes, owner: Owner) -> None:
    front = Front()
    running, _, writer = await owner.begin(front)
    front.body(b"body")
    writer.write(text)
    writer.close()
    assert not await running
    assert front.sent == []


async def test_an_owner_that_breaks_off_breaks_the_answer_off(owner: Owner) -> None:
    front = Front()
    running, _, writer = await owner.begin(front)
    writer.write(OK + b"ab")
    writer.close()
    assert await running
    assert front.aborted


@pytest.mark.parametrize("how", ["disconnect", "lost", "lost while the answer comes"])
async def test_a_client_that_leaves_takes_its_request_along(how: str, owner: Owner) -> None:
    front = Front()
    running, reader, writer = await owner.begin(front)
    front.body(b"")
    if "answer" in how:
        writer.write(OK + b"ab")
        while front.answer != b"ab":
            await asyncio.sleep(0)
    if how == "disconnect":
        front.leave()
    else:
        while front.turn.waiter is None:
            await asyncio.sleep(0)
        front.turn.waiter.hurry()
        front.turn.waiter.lost()
    with pytest.raises(GoneError):
        await running
    with pytest.raises(ConnectionError):
        while await reader.read(1000):
            pass
        raise ConnectionError
