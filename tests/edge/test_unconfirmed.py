"""How much of what was written has not reached the peer's kernel."""

from __future__ import annotations

import asyncio
import socket

import pytest

from moorage.edge.unconfirmed import unconfirmed

pytestmark = pytest.mark.repair(15)


async def test_it_falls_while_the_peer_reads() -> None:
    """The peer has a small buffer, and what is written is more than the kernel takes."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    loop = asyncio.get_running_loop()
    peer = socket.socket()
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
    peer.setblocking(False)
    await loop.sock_connect(peer, listener.getsockname())
    near, _ = await loop.sock_accept(listener)
    _, writer = await asyncio.open_connection(sock=near)
    transport = writer.transport
    assert isinstance(transport, asyncio.Transport)
    assert unconfirmed(transport) == 0
    transport.write(bytes(10_000_000))
    last = unconfirmed(transport)
    assert last > 8_000_000
    while last:
        got = 0
        while got < 1_000_000 and last:
            got += len(await loop.sock_recv(peer, 65_536))
            last = min(last, unconfirmed(transport))
        assert last <= 10_000_000 - got
    peer.close()
    listener.close()
    transport.abort()
    assert unconfirmed(transport) == 0


async def test_nothing_is_unconfirmed_on_a_closed_connection() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    _, writer = await asyncio.open_connection(*listener.getsockname())
    writer.close()
    await writer.wait_closed()
    assert unconfirmed(writer.transport) == 0
    listener.close()
