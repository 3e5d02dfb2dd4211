"""The two ends of a relayed WebSocket: bytes, back-pressure, ends."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from moorage.edge.relay.tunnel import STUCK_SECONDS, Side, join, keep_alive

SECONDS = 10.0


class Line:
    """A tunnel between two sockets of the test."""

    def __init__(self) -> None:
        self.ended: list[Side] = []
        self.sides: list[Side] = []
        self.client: socket.socket
        self.owner: socket.socket

    async def start(self) -> None:
        """Connect everything."""
        loop = asyncio.get_running_loop()
        self.owner, inner = tcp_pair()
        owner = Side(self.ended.append)
        await loop.create_connection(lambda: owner, sock=inner)
        self.client, inner = tcp_pair()
        transport, _ = await loop.create_connection(asyncio.Protocol, sock=inner)
        transport.pause_reading()
        self.sides = [join(transport, owner, self.ended.append), owner]

    async def until_ended(self) -> None:
        """Wait for the end of both sides."""
        async with asyncio.timeout(SECONDS):
            while len(self.ended) < 2:
                await asyncio.sleep(0.01)


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    """Two ends of a TCP connection, not blocking."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        near = socket.create_connection(server.getsockname())
        far, _ = server.accept()
    near.setblocking(False)
    far.setblocking(False)
    return near, far


@pytest.fixture
async def line() -> AsyncIterator[Line]:
    made = Line()
    await made.start()
    yield made
    for side in made.sides:
        side.transport.abort()
    await made.until_ended()
    made.client.close()
    made.owner.close()


async def read(sock: socket.socket, size: int) -> bytes:
    """Exactly `size` bytes, less at the end."""
    data = b""
    async with asyncio.timeout(SECONDS):
        while len(data) < size:
            part = await asyncio.get_running_loop().sock_recv(sock, 1 << 20)
            if not part:
                break
            data += part
    return data


async def test_bytes_pass_both_ways(line: Line) -> None:
    line.client.send(b"to the owner")
    assert await read(line.owner, 12) == b"to the owner"
    line.owner.send(b"to the client")
    assert await read(line.client, 13) == b"to the client"
    assert line.ended == []


async def test_a_side_that_does_not_read_stops_the_other(line: Line) -> None:
    sent = await fill(line.client)
    held = line.sides[1].transport.get_write_buffer_size()
    assert held < 4 * 1024 * 1024, "what waits here is bounded"
    assert len(await read(line.owner, sent)) == sent, "and goes on when the owner reads"


async def fill(sock: socket.socket) -> int:
    """Send until the other end takes nothing for a while. Returns the number of bytes."""
    sent = 0
    while True:
        try:
            async with asyncio.timeout(0.3):
                while True:
                    try:
                        sent += sock.send(b"x" * 65_536)
                    except BlockingIOError:
                        await asyncio.sleep(0.001)
                        continue
                    break
        except TimeoutError:
            return sent


@pytest.mark.parametrize("first", ["client", "owner"])
async def test_the_end_of_one_side_ends_the_other_behind_its_data(line: Line, first: str) -> None:
    ends = [line.client, line.owner] if first == "client" else [line.owner, line.client]
    ends[0].send(b"last words")
    ends[0].close()
    assert await read(ends[1], 100) == b"last words"
    await line.until_ended()


async def test_a_side_that_does_not_take_its_last_bytes_is_cut_off(line: Line) -> None:
    await fill(line.client)
    line.client.close()
    now = asyncio.get_running_loop().time()
    while line.sides[1].closing_since is None:
        # The tunnel reads the end only when the owner takes data.
        line.sides[0].transport.abort()
        await asyncio.sleep(0.01)
    for side in line.sides:
        side.check(now)
    assert len(line.ended) == 1
    line.sides[1].check(now + STUCK_SECONDS + SECONDS)
    await line.until_ended()


async def test_the_kernel_watches_the_peer(line: Line) -> None:
    transport = line.sides[1].transport
    keep_alive(transport)
    sock = transport.get_extra_info("socket")
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
