"""The transport under uvicorn's protocol: who may pause reading, what is sent together, and how it ends."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import cast
from urllib.parse import urlsplit

import pytest

from moorage.edge.http.transport import MAX_DROPPED, HttpTransport
from tests.support.service import MoorageProcess

LARGE = b"x" * 8 * 1024 * 1024


class Side(asyncio.Protocol):
    """The service's end of a connection."""

    def __init__(self) -> None:
        self.made: asyncio.Future[HttpTransport] = asyncio.get_running_loop().create_future()
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.got = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.made.set_result(HttpTransport(cast(asyncio.Transport, transport)))

    def data_received(self, data: bytes) -> None:
        self.got += len(data)
        if self.made.result().closing:
            self.made.result().drop(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set_result(None)


Ends = tuple[HttpTransport, Side, socket.socket]


@pytest.fixture
async def ends() -> AsyncIterator[Ends]:
    """A transport, its protocol, and the client's socket."""
    loop = asyncio.get_running_loop()
    side = Side()
    server = await loop.create_server(lambda: side, "127.0.0.1", 0)
    with socket.socket() as client:
        client.setblocking(False)
        await loop.sock_connect(client, server.sockets[0].getsockname())
        yield await side.made, side, client
    if not side.lost.done():
        side.made.result().abort()
    await side.lost
    server.close()


async def test_reading_goes_on_when_both_agree(ends: Ends) -> None:
    transport, side, client = ends
    for pause, resume in (
        (transport.pause_reading, transport.resume_reading),
        (lambda: transport.hold(True), lambda: transport.hold(False)),
    ):
        pause()
        assert not transport.real.is_reading()
        transport.pause_reading()
        resume()
    assert not transport.real.is_reading(), "the other one has not resumed"
    transport.resume_reading()
    assert transport.real.is_reading()
    client.send(b"12")
    while side.got < 2:
        await asyncio.sleep(0)


async def test_data_waits_for_the_next_write_until_the_end_of_the_turn(ends: Ends) -> None:
    transport, _, client = ends
    loop = asyncio.get_running_loop()
    transport.write(b"head")
    with pytest.raises(BlockingIOError):
        client.recv(100)
    transport.write(b" and body")
    assert await loop.sock_recv(client, 100) == b"head and body"
    transport.write(b"head alone")
    assert await loop.sock_recv(client, 100) == b"head alone"
    transport.write(b"before the end of the turn")
    transport.flush()
    assert client.recv(100) == b"before the end of the turn"


def test_a_refused_poll_arrives_in_one_piece(service: MoorageProcess) -> None:
    address = urlsplit(service.url)
    target = "/clients/socketio/hubs/nobody/?transport=polling&EIO=3"
    request = f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    for _ in range(30):
        with socket.create_connection((address.hostname, address.port)) as client:
            client.sendall(request)
            head, _, body = client.recv(65_536).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 400 ")
        assert f"content-length: {len(body)}".encode() in head.split(b"\r\n")


async def test_a_close_while_nothing_is_coming(ends: Ends) -> None:
    transport, side, client = ends
    transport.write(b"last")
    transport.close()
    transport.close()
    transport.write(b"too late")
    assert transport.is_closing()
    await side.lost
    assert await asyncio.get_running_loop().sock_recv(client, 100) == b"last"
    assert await asyncio.get_running_loop().sock_recv(client, 100) == b""
    transport.hold(True)
    transport.pause_reading()


@pytest.mark.repair(8)
@pytest.mark.parametrize("held", [False, True])
async def test_a_close_while_the_client_is_sending_waits_for_it(ends: Ends, held: bool) -> None:
    transport, side, client = ends
    loop = asyncio.get_running_loop()
    transport.hold(held)
    transport.waiting_since = None if held else 1.0
    transport.write(b"last")
    transport.close()
    await loop.sock_sendall(client, LARGE)
    assert await loop.sock_recv(client, 100) == b"last"
    assert await loop.sock_recv(client, 100) == b""
    client.close()
    await side.lost
    assert side.got == len(LARGE)


@pytest.mark.repair(8)
async def test_the_wait_is_bounded(ends: Ends) -> None:
    transport, side, client = ends
    transport.waiting_since = 1.0
    transport.close()
    with suppress(ConnectionError):
        for _ in range(MAX_DROPPED // len(LARGE) + 10):
            await asyncio.get_running_loop().sock_sendall(client, LARGE)
    await side.lost


@pytest.mark.repair(3)
async def test_being_stuck(ends: Ends) -> None:
    transport, _, client = ends
    loop = asyncio.get_running_loop()
    for _ in range(10):
        transport.write(LARGE)
    assert not transport.stuck(100.0, 5.0), "it is asked for the first time"
    assert not transport.stuck(105.0, 5.0)
    assert transport.stuck(105.1, 5.0)
    unread = transport.real.get_write_buffer_size()
    while transport.real.get_write_buffer_size() >= unread:
        await loop.sock_recv(client, 1 << 20)
    assert not transport.stuck(106.0, 5.0), "it has taken something"
    assert transport.stuck(111.1, 5.0)
    transport.caught_up()
    assert not transport.stuck(200.0, 5.0)
