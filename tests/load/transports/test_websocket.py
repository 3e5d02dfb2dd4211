"""WebSocket: whole messages, fragments, refusals, and ends."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.server import Server as WebSocketServer
from websockets.asyncio.server import ServerConnection, serve

from moorage.load.client import State
from tests.cluster.nats import certificates
from tests.load.servers import Server
from tests.load.stages import staged
from tests.load.transports.raw import raw_server

HELLO = '0{"sid":"a","upgrades":[],"pingInterval":1000,"pingTimeout":500,"maxPayload":1000}'
Serve = Callable[[ServerConnection], Coroutine[Any, Any, None]]


def serving(handler: Serve, **more: Any) -> AbstractAsyncContextManager[WebSocketServer]:
    return serve(handler, "127.0.0.1", 0, **more)


def url_of(server: WebSocketServer, scheme: str = "http") -> str:
    return f"{scheme}://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"


async def join(connection: ServerConnection) -> None:
    await connection.send(HELLO)
    assert await connection.recv() == "40"
    await connection.send('40{"sid":"b"}')


async def test_fragments_and_binary_messages() -> None:
    async def handler(connection: ServerConnection) -> None:
        await join(connection)
        await connection.send(iter(['42["a",', '"b"]']))
        await connection.send(b"binary")
        await connection.send(iter([b"bin", b"ary"]))
        await connection.wait_closed()

    async with serving(handler) as server, staged("idle", url_of(server), clients=1) as stage:
        events: list[bytes] = []
        arrived = asyncio.Event()

        def event(client: object, packet: bytes) -> None:
            events.append(packet)
            arrived.set()

        stage.scenario.event = event  # type: ignore[method-assign]
        await stage.scenario.prepare()
        await asyncio.wait_for(arrived.wait(), 30)
        assert events == [b'42["a","b"]']
        assert stage.figures["errors"] == 0


@pytest.mark.parametrize(
    ("code", "said"), [(4000, "the server closed the WebSocket: 4000 why"), (None, "the connection broke")]
)
async def test_ends_by_the_server(code: int | None, said: str) -> None:
    async def handler(connection: ServerConnection) -> None:
        await join(connection)
        if code is None:
            connection.transport.abort()
        else:
            await connection.close(code, "why")

    async with serving(handler) as server, staged("idle", url_of(server), clients=1) as stage:
        await stage.scenario.prepare()
        (client,) = stage.scenario.clients
        while client.state is not State.CLOSED:
            await asyncio.sleep(0.01)
        assert stage.figures["disconnects"] == 1
        assert list(stage.totals.errors) == [said]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno", "HTTP 403"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "HTTP 200"),
        (b"nonsense\r\n\r\n", ""),
    ],
)
async def test_refusals(answer: bytes, said: str) -> None:
    async with raw_server(lambda head: answer) as url, staged("idle", url, clients=1, timeout=20.0) as stage:
        await stage.scenario.prepare()
        (error,) = stage.stage.tally.report(0, 0).errors
        assert error.startswith(said)


async def test_headers_and_query(server: Server) -> None:
    async def handler(connection: ServerConnection) -> None:
        assert connection.request is not None
        seen.append((connection.request.headers["X-One"], connection.request.path))
        await join(connection)
        await connection.wait_closed()

    seen: list[tuple[str, str]] = []
    async with serving(handler) as running:
        options = {"headers": {"X-One": "1"}, "query": {"user": "u{n}"}, "path": "/x/"}
        async with staged("idle", url_of(running), clients=1, **options) as stage:
            await stage.scenario.prepare()
    assert seen == [("1", "/x/?user=u0&EIO=4&transport=websocket")]


async def test_tls(tmp_path: Path) -> None:
    certificates.make(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem", tmp_path / "server.key")

    async def handler(connection: ServerConnection) -> None:
        await join(connection)
        await connection.wait_closed()

    async with serving(handler, ssl=context) as server:
        url = url_of(server, "https")
        async with staged("idle", url, clients=1) as stage:
            await stage.scenario.prepare()
            (error,) = stage.stage.tally.report(0, 0).errors
            assert "certificate" in error.lower()
        async with staged("idle", url, clients=1, insecure=True) as stage:
            await stage.scenario.prepare()
            assert stage.stage.tally.connected == 1
