"""A query in a namespace's name, with both Python SDKs on a running service."""

from __future__ import annotations

import asyncio

import pytest
import socketio

from moorage.sdk import use_moorage_sync
from tests.sdk.conftest import World
from tests.support.rawws import WebSocket


async def life_with_query(client: WebSocket) -> None:
    """Of a socket whose CONNECT has a query, twice: all of its packets may have one."""
    for _ in range(2):
        await client.send("40/chat?token=x,")
        assert (await client.text()).startswith('40/chat,{"sid":"')
        for name in ("/chat?token=x", "/chat"):
            await client.send(f'42{name},1["echo","{name}"]')
            assert await client.text() == f'43/chat,1["{name}"]'
        await client.send("41/chat?token=x,")


@pytest.mark.repair(21)
async def test_a_query_is_no_part_of_a_namespace_for_the_whole_life_of_the_socket(world: World) -> None:
    sio = socketio.AsyncServer(async_mode="asgi", namespaces="*")
    sio.on("echo", lambda _sid, value: value, namespace="/chat")
    moorage = await world.app(sio)
    await life_with_query(await world.raw())
    assert len(await moorage.fetch_sockets(namespace="/chat")) == 0
    await moorage.close()
    threaded = socketio.Server(async_mode="threading", namespaces="*")
    threaded.on("echo", lambda _sid, value: value, namespace="/chat")
    text = world.service.connection_string
    linked = await asyncio.to_thread(use_moorage_sync, threaded, hub=world.hub, connection_string=text)
    try:
        await life_with_query(await world.raw())
    finally:
        await asyncio.to_thread(linked.close)
