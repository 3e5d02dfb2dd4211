"""`sio.instrument()` before and after the link is made; the admin UI hears of sockets and rooms."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import socketio
from engineio.async_socket import AsyncSocket
from engineio.socket import Socket

from tests.sdk.conftest import World
from tests.sdk.threads.world import World as ThreadsWorld
from tests.support.service import MoorageProcess

pytestmark = pytest.mark.repair(19)


async def admin(world: World) -> tuple[Any, asyncio.Queue[tuple[Any, ...]]]:
    """The UI: a client in its namespace, and what it hears."""
    heard: asyncio.Queue[tuple[Any, ...]] = asyncio.Queue()
    client = await world.client("/admin")
    client.on("*", lambda *what: heard.put_nowait(what), namespace="/admin")
    return client, heard


async def hears(heard: asyncio.Queue[tuple[Any, ...]], name: str, *start: Any) -> tuple[Any, ...]:
    """Wait for an event with these first arguments."""
    async with asyncio.timeout(20):
        while True:
            event = await heard.get()
            if event[0] == name and event[1 : 1 + len(start)] == start:
                return event


async def sees_rooms(world: World, heard: asyncio.Queue[tuple[Any, ...]]) -> None:
    client = await world.client()
    sid = client.get_sid()
    while (await hears(heard, "socket_connected"))[1]["id"] != sid:
        pass  # the UI's own
    await client.emit("in", "r")
    await hears(heard, "room_joined", "/", "r", sid)
    await client.emit("out", "r")
    await hears(heard, "room_left", "/", "r", sid)
    await client.disconnect()
    await hears(heard, "socket_disconnected", "/", sid)


@pytest.fixture(autouse=True)
def engineio_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """`instrument` replaces methods of python-engineio's classes, for all servers of the process. What it has
    replaced twice calls itself without end."""
    for kind in (AsyncSocket, Socket):
        for name in ("handle_post_request", "_websocket_handler", "_send_ping"):
            monkeypatch.setattr(kind, name, getattr(kind, name))


@pytest.mark.parametrize("before", [True, False])
async def test_asyncio(world: World, before: bool) -> None:
    sio = socketio.AsyncServer(async_mode="asgi")
    made = sio.instrument(auth=False, server_stats_interval=0.2) if before else None
    sio.on("in", sio.enter_room)
    sio.on("out", sio.leave_room)
    await world.app(sio)
    made = made or sio.instrument(auth=False, server_stats_interval=0.2)
    _, heard = await admin(world)
    await sees_rooms(world, heard)
    await made.shutdown()


@pytest.mark.parametrize("before", [True, False])
async def test_threads(world: World, service: MoorageProcess, before: bool) -> None:
    sio = socketio.Server(async_mode="threading")
    made = sio.instrument(auth=False, server_stats_interval=0.2) if before else None
    sio.on("in", sio.enter_room)
    sio.on("out", sio.leave_room)
    threads = ThreadsWorld(service)
    threads.hub = world.hub
    await threads.serve(sio)
    made = made or sio.instrument(auth=False, server_stats_interval=0.2)
    _, heard = await admin(world)
    await sees_rooms(world, heard)
    await asyncio.to_thread(made.shutdown)
    await threads.end()
