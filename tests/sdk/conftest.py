"""A hub of a real service for each test: app servers with the SDK, stock clients and raw ones."""

from __future__ import annotations

import asyncio
import gc
import uuid
import warnings
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import pytest
import socketio

from moorage.sdk import Moorage, use_moorage
from tests.sdk.linked import Linked, link_to
from tests.sdk.service_peer import ServicePeer
from tests.support.rawws import WebSocket
from tests.support.service import MoorageProcess

SECONDS = 30.0


class Heard:
    """What came, in order."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[Any] = asyncio.Queue()

    def __call__(self, *what: Any) -> None:
        self.queue.put_nowait(what)

    async def next(self) -> Any:
        """The next one."""
        async with asyncio.timeout(SECONDS):
            return await self.queue.get()

    async def some(self, count: int) -> list[Any]:
        """The next ones."""
        return [await self.next() for _ in range(count)]

    @property
    def empty(self) -> bool:
        """Nothing has come that was not taken."""
        return self.queue.empty()


class Client(socketio.AsyncClient):  # type: ignore[misc]
    """A stock client that keeps the events it hears, as `(name, *arguments)`."""

    heard: Heard


class World:
    """One hub. Everything in it ends with the test."""

    def __init__(self, service: MoorageProcess) -> None:
        self.service = service
        self.hub = f"hub_{uuid.uuid4().hex[:12]}"
        self.path = f"/clients/socketio/hubs/{self.hub}"
        self._moorages: list[Moorage] = []
        self._clients: list[Client] = []
        self._sockets: list[WebSocket] = []
        self._http: aiohttp.ClientSession | None = None

    async def app(self, sio: Any = None, **options: Any) -> Moorage:
        """A server of its own, or `sio`, linked."""
        sio = sio or socketio.AsyncServer(async_mode="asgi")
        given = {"hub": self.hub, "connection_string": self.service.connection_string, **options}
        moorage = await use_moorage(sio, **given)
        self._moorages.append(moorage)
        return moorage

    async def client(
        self, *namespaces: str, on: dict[str, Callable[..., Any]] | None = None, **options: Any
    ) -> Client:
        """A connected client, by WebSocket unless `transports` says otherwise."""
        self._http = self._http or aiohttp.ClientSession()
        client = Client(reconnection=False, http_session=self._http)
        client.heard = Heard()
        self._clients.append(client)
        for namespace in namespaces or ("/",):
            client.on("*", client.heard, namespace=namespace)
            client.on("disconnect", lambda reason: client.heard("disconnect", reason), namespace=namespace)
            client.on("connect_error", lambda data: client.heard("connect_error", data), namespace=namespace)
            for event, handler in (on or {}).items():
                client.on(event, handler, namespace=namespace)
        options = {"transports": ["websocket"], "wait_timeout": SECONDS, **options}
        await client.connect(
            self.service.url, socketio_path=self.path, namespaces=list(namespaces or ("/",)), **options
        )
        return client

    async def raw(self, query: str = "") -> WebSocket:
        """A client whose every packet the test writes; in no namespace yet."""
        socket = await WebSocket.session(self.service.url, f"{self.path}/", query)
        self._sockets.append(socket)
        return socket

    async def end(self) -> None:
        """Clients first."""
        for client in self._clients:
            await client.disconnect()
        for socket in self._sockets:
            await socket.http.close()
        for moorage in self._moorages:
            await moorage.close()
        if self._http is not None:
            await self._http.close()
            with warnings.catch_warnings():
                # The client lets go of an answer it has no use for without reading it; aiohttp warns of
                # that when the garbage collector finds it, which must not be in somebody else's test.
                warnings.simplefilter("ignore", ResourceWarning)
                gc.collect()


async def until(true: Callable[[], bool]) -> None:
    """Wait for what another process is about to do."""
    async with asyncio.timeout(SECONDS):
        while not true():
            await asyncio.sleep(0.005)


@pytest.fixture
async def world(service: MoorageProcess) -> AsyncIterator[World]:
    """A hub of its own."""
    made = World(service)
    yield made
    await made.end()


@pytest.fixture
async def peer() -> AsyncIterator[ServicePeer]:
    async with ServicePeer() as running:
        yield running


@pytest.fixture
async def link(peer: ServicePeer) -> AsyncIterator[Linked]:
    """An open link to `peer`."""
    made = link_to(peer.connection_string)
    await made.start()
    yield made
    await made.close()
