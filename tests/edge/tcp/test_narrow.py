"""TLS with short reads, and the contract with uvloop's undocumented `SSLProtocol`: these tests fail if a new
version changes what `edge/tcp/narrow.py` needs."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import cast

import pytest
import uvloop

from moorage.edge.settings import TlsSettings
from moorage.edge.tcp.narrow import READ, UNREAD_HIGH, Narrow, TlsTransport, secured
from moorage.edge.tcp.tls import make
from tests.support.app_link import AppServer
from tests.support.certificates import Authority
from tests.support.rawhttp import clients
from tests.support.rawws import WebSocket
from tests.support.service import MoorageProcess

LARGE = bytes(range(256)) * 4_000


class Echo(asyncio.Protocol):
    """Sends back what it gets."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport
        self.ends: list[Exception | None] = []
        self.paused: list[bool] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)

    def pause_writing(self) -> None:
        self.paused.append(True)

    def resume_writing(self) -> None:
        self.paused.append(False)

    def connection_lost(self, exc: Exception | None) -> None:
        self.ends.append(exc)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


class Pair:
    """Both ends of a TCP connection, the server's with TLS."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.echo = Echo()
        self._context = context

    async def connect(self) -> socket.socket:
        """Returns the client's end, on which it has not begun with TLS."""
        with socket.create_server(("127.0.0.1", 0)) as server:
            client = socket.create_connection(server.getsockname())
            sock, _ = server.accept()
        sock.setblocking(False)
        make, self.done = secured(self.echo, self._context, handshake=1.0, shutdown=1.0)
        self.narrow: Narrow = make()
        await asyncio.get_running_loop().connect_accepted_socket(make, sock)
        return client

    async def secure(
        self, authority: Authority, limit: int = 2**16
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Returns the client's end after the TLS handshake; it reads about `limit` bytes ahead."""
        client = await self.connect()
        context = ssl.create_default_context(cafile=str(authority.file))
        streams = await asyncio.open_connection(
            sock=client, ssl=context, server_hostname="127.0.0.1", limit=limit
        )
        await self.done
        return streams


def on_uvloop(authority: Authority, body: Callable[[Pair], Awaitable[None]]) -> None:
    """Run a test on the service's event loop."""
    files = authority.make()
    context, _ = make(TlsSettings(cert_file=str(files.cert), key_file=str(files.key)))

    async def run() -> None:
        await body(Pair(context))

    uvloop.run(run())


def test_everything_arrives_in_short_reads(authority: Authority) -> None:
    async def body(pair: Pair) -> None:
        reader, writer = await pair.secure(authority)
        assert len(pair.narrow.get_buffer(256 * 1024)) == READ
        writer.write(LARGE)
        assert await reader.readexactly(len(LARGE)) == LARGE
        writer.close()
        await writer.wait_closed()
        async with asyncio.timeout(30):
            while not pair.echo.ends:
                await asyncio.sleep(0)
        assert pair.echo.ends == [None]

    on_uvloop(authority, body)


@pytest.mark.repair(15)
def test_a_peer_that_does_not_read_pauses_the_protocol(authority: Authority) -> None:
    async def body(pair: Pair) -> None:
        reader, writer = await pair.secure(authority, limit=1024)
        transport = pair.echo.transport
        assert isinstance(transport, TlsTransport)
        assert (transport.get_protocol(), transport.is_reading()) == (pair.echo, True)
        assert not transport.can_write_eof()
        for _ in range(20):
            transport.writelines([LARGE, b"end"])
        assert pair.echo.paused == [True]
        assert transport.get_write_buffer_size() > len(LARGE)
        for _ in range(20):
            assert await reader.readexactly(len(LARGE) + 3) == LARGE + b"end"
        async with asyncio.timeout(30):
            while pair.echo.paused != [True, False]:
                await asyncio.sleep(0)
        assert transport.get_write_buffer_size() == 0
        writer.transport.abort()
        async with asyncio.timeout(30):
            while not pair.echo.ends:
                await asyncio.sleep(0)
        assert (transport.is_closing(), transport.get_write_buffer_size()) == (True, 0)

    on_uvloop(authority, body)


@pytest.mark.repair(10)
def test_a_protocol_that_does_not_read_holds_little(authority: Authority) -> None:
    async def body(pair: Pair) -> None:
        reader, writer = await pair.secure(authority)
        pair.echo.transport.pause_reading()
        writer.write(LARGE)
        async with asyncio.timeout(30):
            while pair.narrow.unread() < UNREAD_HIGH:
                await asyncio.sleep(0)
        # More than enough turns to read all of it.
        for _ in range(2_000):
            await asyncio.sleep(0)
        assert pair.narrow.unread() < UNREAD_HIGH + READ
        pair.echo.transport.resume_reading()
        assert await reader.readexactly(len(LARGE)) == LARGE
        writer.transport.abort()

    on_uvloop(authority, body)


@pytest.mark.repair(15)
def test_a_slow_peer_gets_everything_before_the_close(authority: Authority) -> None:
    async def body(pair: Pair) -> None:
        reader, writer = await pair.secure(authority, limit=1024)
        transport = pair.echo.transport
        for _ in range(20):
            transport.write(LARGE)
        transport.close()
        assert transport.is_closing()
        # Longer than the peer may take to answer the end of TLS.
        await asyncio.sleep(1.5)
        for _ in range(20):
            assert await reader.readexactly(len(LARGE)) == LARGE
        assert await reader.read() == b""
        writer.close()
        async with asyncio.timeout(30):
            while not pair.echo.ends:
                await asyncio.sleep(0)
        assert pair.echo.ends == [None]

    on_uvloop(authority, body)


@pytest.mark.parametrize("sent", [b"GET / HTTP/1.1\r\n\r\n", b""])
def test_a_handshake_that_fails_ends_the_wait(authority: Authority, sent: bytes) -> None:
    async def body(pair: Pair) -> None:
        client = await pair.connect()
        client.sendall(sent)
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await pair.done
        client.close()
        assert not pair.echo.ends

    on_uvloop(authority, body)


@pytest.mark.repair(10)
async def test_a_large_emit_leaves_little_memory(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    with MoorageProcess(*authority.make().flags) as service:
        async with AppServer(service, "app") as app:
            sockets = [await WebSocket.session(service.url, clients("app")) for _ in range(20)]
            before = service.memory("VmRSS")
            for client in sockets:
                await app.send(client.sid, f'42["{"x" * 500_000}"]')
                await client.text()
            grown = (service.memory("VmRSS") - before) / len(sockets)
            for client in sockets:
                await client.http.close()
    assert grown < 120_000, "it was 510 kB when TLS got large writes"


@pytest.mark.repair(10)
async def test_a_large_message_leaves_little_memory(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    with MoorageProcess(*authority.make().flags) as service:
        async with AppServer(service, "app") as app:
            app.on_message = lambda event: 200
            sockets = [await WebSocket.session(service.url, clients("app")) for _ in range(60)]
            before = service.memory("VmRSS")
            for client in sockets:
                await client.send(f'42["{"x" * 200_000}"]')
                await app.event("message")
            grown = (service.memory("VmRSS") - before) / len(sockets)
            for client in sockets:
                await client.http.close()
    assert grown < 120_000, "it was 330 kB with uvloop's own reads"
