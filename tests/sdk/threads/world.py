"""Stock Python clients and synchronous servers of one hub, for the tests of `moorage.sdk.threads`."""

from __future__ import annotations

import asyncio
import gc
import threading
import warnings
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar
from uuid import uuid4

import socketio

from moorage.sdk.threads.app_server import ThreadedMoorage, use_moorage_sync
from tests.support.python_client import leave
from tests.support.service import MoorageProcess

SECONDS = 30.0
HandlerT = TypeVar("HandlerT", bound=Callable[..., Any])


def new_server(**options: Any) -> Any:
    """A `socketio.Server` with handlers in threads."""
    return socketio.Server(async_mode="threading", **options)


def event(sio: Any) -> Callable[[HandlerT], HandlerT]:
    """`sio.event`, with types."""

    def register(handler: HandlerT) -> HandlerT:
        sio.on(handler.__name__, handler)
        return handler

    return register


class World:
    """One hub with its app servers and clients, all of which end with it."""

    def __init__(self, service: MoorageProcess) -> None:
        self.service = service
        self.hub = f"hub_{uuid4().hex[:12]}"
        self.moorages: list[ThreadedMoorage] = []
        self.clients: list[Any] = []

    async def serve(self, server: Any = None, **options: Any) -> ThreadedMoorage:
        """`server`, or a `socketio.Server` of its own, linked."""
        if server is None:
            server = socketio.Server(async_mode="threading")
        options = {"hub": self.hub, "connection_string": self.service.connection_string, **options}
        moorage = await asyncio.to_thread(use_moorage_sync, server, **options)
        self.moorages.append(moorage)
        return moorage

    async def client(
        self, *namespaces: str, on: dict[str, Callable[..., Any]] | None = None, **options: Any
    ) -> Any:
        """A connected `socketio.AsyncClient`; its `heard` queue gets each event as (name, *arguments)."""
        client = socketio.AsyncClient(reconnection=False)
        client.heard = asyncio.Queue()
        names = namespaces or ("/",)
        for name in names:
            client.on("*", lambda *event: client.heard.put_nowait(event), namespace=name)
            for event, handler in (on or {}).items():
                client.on(event, handler, namespace=name)
        self.clients.append(client)
        await client.connect(
            self.service.url,
            socketio_path=f"/clients/socketio/hubs/{self.hub}",
            namespaces=list(names),
            wait_timeout=SECONDS,
            **options,
        )
        return client

    async def end(self) -> None:
        """Clients first, so that servers hear of them."""
        for client in self.clients:
            await leave(client)
        for moorage in self.moorages:
            await asyncio.to_thread(moorage.close)
        self.clients.clear()
        with warnings.catch_warnings():
            # A stock client that was refused leaves its aiohttp connection to the garbage collector, whose
            # warning must not fail another test.
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()


@asynccontextmanager
async def world_of(service: MoorageProcess) -> AsyncIterator[World]:
    """A hub for the length of the block."""
    world = World(service)
    try:
        yield world
    finally:
        await world.end()


async def next_of(heard: asyncio.Queue[Any]) -> Any:
    """The next event, or a failed test."""
    return await asyncio.wait_for(heard.get(), SECONDS)


class Record:
    """What handlers in threads have noted, to be waited for."""

    def __init__(self) -> None:
        self.notes: list[Any] = []
        self._changed = threading.Condition()

    def __call__(self, *note: Any) -> None:
        """Note it."""
        with self._changed:
            self.notes.append(note if len(note) > 1 else note[0])
            self._changed.notify_all()

    async def wait(self, count: int) -> list[Any]:
        """The notes, once there are `count`."""

        def reached() -> bool:
            with self._changed:
                return self._changed.wait_for(lambda: len(self.notes) >= count, SECONDS)

        assert await asyncio.to_thread(reached), self.notes
        return self.notes
