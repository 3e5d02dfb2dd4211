"""App servers that only emit, and those that forgot to say so."""

from __future__ import annotations

import logging

import pytest
import socketio

from moorage.sdk import Moorage
from tests.sdk.conftest import World
from tests.sdk.threads.world import World as ThreadsWorld
from tests.sdk.threads.world import new_server
from tests.support.service import MoorageProcess

pytestmark = pytest.mark.repair(14)

CLIENTS = 4


async def with_handlers(world: World) -> Moorage:
    """An app server that takes clients."""
    sio = socketio.AsyncServer(async_mode="asgi")
    sio.on("x", lambda sid: "answer")
    return await world.app(sio)


async def owners(moorage: Moorage) -> dict[str, int]:
    """How many clients each app server has."""
    return {server.id: server.clients for server in await moorage.servers()}


async def test_an_asyncio_worker_emits_and_gets_no_clients(world: World) -> None:
    worker = await world.app(emit_only=True)
    app = await with_handlers(world)
    clients = [await world.client() for _ in range(CLIENTS)]
    assert await owners(app) == {app.server_id: CLIENTS, worker.server_id: 0}
    await worker.emit("news", 1)
    assert [await client.heard.next() for client in clients] == [("news", 1)] * CLIENTS


async def test_a_worker_with_threads_emits_and_gets_no_clients(world: World, service: MoorageProcess) -> None:
    threads = ThreadsWorld(service)
    threads.hub = world.hub
    worker = await threads.serve(new_server(), emit_only=True)
    app = await with_handlers(world)
    clients = [await world.client() for _ in range(CLIENTS)]
    assert await owners(app) == {app.server_id: CLIENTS, worker.server_id: 0}
    worker.sio.emit("news", 1)
    assert [await client.heard.next() for client in clients] == [("news", 1)] * CLIENTS
    await threads.end()


async def test_without_another_app_server_clients_are_refused(world: World) -> None:
    await world.app(emit_only=True)
    with pytest.raises(socketio.exceptions.ConnectionError):
        await world.client()


async def test_an_app_server_with_clients_and_no_handler_is_warned_once(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    await world.app(socketio.AsyncServer(async_mode="asgi", namespaces="*"))
    with caplog.at_level(logging.WARNING, "moorage.sdk"):
        await world.client()
        await world.client()
    assert caplog.text.count("emit_only=True") == 1


async def test_one_with_a_handler_is_not_warned(world: World, caplog: pytest.LogCaptureFixture) -> None:
    await with_handlers(world)
    with caplog.at_level(logging.WARNING, "moorage.sdk"):
        await world.client()
    assert "emit_only" not in caplog.text
