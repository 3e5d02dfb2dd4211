"""The stock Python client (`python-socketio`) on each transport, and through the upgrade."""

from __future__ import annotations

import asyncio
import gc
import warnings
from collections.abc import AsyncIterator
from itertools import count
from types import TracebackType
from typing import Any

import aiohttp
import pytest
import socketio

from tests.support.app_link import AppServer, Event
from tests.support.python_client import leave
from tests.support.service import MoorageProcess

_numbers = count(1)
TRANSPORTS = [["websocket"], ["polling"], ["polling", "websocket"]]


class Client:
    """A `socketio.AsyncClient` that keeps what it hears. Use as an async context manager."""

    def __init__(self, *namespaces: str) -> None:
        # We provide the session, because the client leaves its own open when it gives up.
        self.http = aiohttp.ClientSession()
        self.sio = socketio.AsyncClient(reconnection=False, http_session=self.http)
        self.heard: asyncio.Queue[tuple[Any, ...]] = asyncio.Queue()
        for namespace in namespaces or ("/",):
            self.sio.on("*", self._event, namespace=namespace)
            self.sio.on("disconnect", self._end(namespace), namespace=namespace)
            self.sio.on("connect_error", self._refused, namespace=namespace)

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.leave()
        await self.http.close()
        with warnings.catch_warnings():
            # The client drops an unused answer without reading it. aiohttp warns about this when
            # the garbage collector finds the answer, which must not happen in another test.
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()

    async def leave(self) -> None:
        """Disconnect."""
        await leave(self.sio)

    async def _event(self, event: str, *arguments: Any) -> list[Any]:
        self.heard.put_nowait((event, *arguments))
        return ["got", *arguments]

    async def _refused(self, data: Any) -> None:
        self.heard.put_nowait(("connect_error", data))

    def _end(self, namespace: str) -> Any:
        async def ended(reason: str) -> None:
            self.heard.put_nowait(("disconnect", namespace, reason))

        return ended

    async def next(self) -> tuple[Any, ...]:
        """The next event."""
        async with asyncio.timeout(10):
            return await self.heard.get()


@pytest.fixture
async def app(service: MoorageProcess) -> AsyncIterator[AppServer]:
    """An app server that echoes."""
    async with AppServer(service, f"python_{next(_numbers)}") as running:
        yield running


@pytest.fixture(params=TRANSPORTS, ids=["websocket", "polling", "upgrade"])
async def client(request: pytest.FixtureRequest, app: AppServer) -> AsyncIterator[Client]:
    """A connected client."""
    async with Client("/", "/admin") as made:
        await join(made, app, request.param)
        yield made


async def join(client: Client, app: AppServer, transports: list[str], **more: Any) -> None:
    """Connect, and wait until all namespaces are connected."""
    path = f"clients/socketio/hubs/{app.hub}"
    await client.sio.connect(
        app.service.url, transports=transports, socketio_path=path, wait=True, wait_timeout=10, **more
    )


def connection_of(client: Client) -> str:
    """The Engine.IO session's id, which is the service's connection id."""
    return str(client.sio.eio.sid)


async def test_it_connects_with_the_requested_transport(
    request: pytest.FixtureRequest, client: Client, app: AppServer
) -> None:
    assert client.sio.connected
    transport = client.sio.transport()
    assert transport == ("polling" if "polling]" in request.node.name else "websocket")
    assert set(client.sio.namespaces) == {"/", "/admin"}
    shown = f'moorage_connections{{hub="{app.hub}",transport="{transport}"}}'
    assert await asyncio.to_thread(app.service.metric, shown) == 1


async def test_events_both_ways(client: Client) -> None:
    for data in ("text é€😀", {"a": [1, None, True]}, ["x"], 1.5):
        await client.sio.emit("message", data)
        assert await client.next() == ("message", data)
    await client.sio.emit("several", ("a", 1))
    assert await client.next() == ("several", "a", 1)
    await client.sio.emit("message", "there", namespace="/admin")
    assert await client.next() == ("message", "there")


async def test_many_events_keep_their_order(client: Client) -> None:
    for number in range(100):
        await client.sio.emit("n", number)
    assert [await client.next() for _ in range(100)] == [("n", number) for number in range(100)]


async def test_binary_both_ways(client: Client) -> None:
    await client.sio.emit("data", {"first": b"\x00\xff", "second": [b"", b"x" * 70_000]})
    assert await client.next() == ("data", {"first": b"\x00\xff", "second": [b"", b"x" * 70_000]})


async def test_acks_both_ways(client: Client, app: AppServer) -> None:
    assert await client.sio.call("q", ("a", {"b": 1}), timeout=10) == ("a", {"b": 1})
    assert await client.sio.call("q", b"\x01\x02", timeout=10) == b"\x01\x02"
    (payload,) = await app.invoke('42["q","x"]')
    assert payload.partition("[")[2] == '["got","x"]]' or payload.endswith('["got","x"]')
    assert await client.next() == ("q", "x")


async def test_the_client_leaves(client: Client, app: AppServer) -> None:
    connection = connection_of(client)
    await client.leave()
    ended = {await client.next() for _ in range(2)}
    assert ended == {("disconnect", name, "client disconnect") for name in ("/", "/admin")}
    assert (await app.event("disconnected")).connection == connection


async def test_the_app_server_ends_a_socket(client: Client, app: AppServer) -> None:
    await app.send(connection_of(client), "41/admin,")
    assert await client.next() == ("disconnect", "/admin", "server disconnect")
    await client.sio.emit("message", "still")
    assert await client.next() == ("message", "still")


async def test_the_app_server_ends_the_connection(client: Client, app: AppServer) -> None:
    await app.send(connection_of(client), "1")
    ended = {(await client.next())[:2] for _ in range(2)}
    assert ended == {("disconnect", "/"), ("disconnect", "/admin")}
    assert not client.sio.connected


@pytest.mark.parametrize("transports", TRANSPORTS[:2], ids=["websocket", "polling"])
async def test_a_namespace_is_refused(app: AppServer, transports: list[str]) -> None:
    def refuse(event: Event) -> int:
        app._later(app.send(event.connection, '44{"message":"not authorized","data":{"code":7}}'))
        return 200

    app.on_message = refuse
    async with Client() as client:
        with pytest.raises(socketio.exceptions.ConnectionError):
            await join(client, app, transports)
        event, data = await client.next()
    assert event == "connect_error"
    assert data == {"message": "not authorized", "data": {"code": 7}}


@pytest.mark.parametrize("transports", TRANSPORTS[:2], ids=["websocket", "polling"])
async def test_a_session_is_refused(app: AppServer, transports: list[str]) -> None:
    app.on_connect = lambda event: (401, b"no")
    async with Client() as client:
        with pytest.raises(socketio.exceptions.ConnectionError):
            await join(client, app, transports)


async def test_heartbeats_keep_it_alive(app: AppServer) -> None:
    """The client answers the app server's `2` with `3`, and notices when the pings stop."""
    app.options = {"pingInterval": 300, "pingTimeout": 4_700}
    async with Client() as client:
        await join(client, app, ["websocket"])
        assert (await app.message(connection_of(client)))[:2] == "40"
        for _ in range(3):
            await app.send(connection_of(client), "2")
            assert await app.message(connection_of(client)) == "3"
        event, _, _ = await client.next()
        assert event == "disconnect", "no more heartbeats: it gives up by itself"


async def test_its_headers_and_auth_reach_the_app_server(app: AppServer) -> None:
    async with Client() as client:
        await join(client, app, ["polling", "websocket"], headers={"X-Room": "7"}, auth={"token": "t"})
        event = await app.event("connect")
        assert event.json()["headers"]["x-room"] == ["7"]
        assert await app.message(event.connection) == '40{"token":"t"}'
