"""Large emits of both Python SDKs reach idle clients, and too large ones fail where they are emitted."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from moorage.sdk import TooLarge
from tests.sdk.conftest import World
from tests.sdk.threads.world import next_of, world_of
from tests.support.service import MoorageProcess

pytestmark = pytest.mark.repair(15)

LARGE = {"websocket": "x" * 4_100_000, "polling": "x" * 6_000_000}
"""aiohttp, below the stock client, reads no WebSocket message above 4 MiB."""
TOO_LARGE = "x" * (17 * 1024 * 1024)


@pytest.mark.parametrize("transport", ["websocket", "polling"])
async def test_asyncio(world: World, transport: str) -> None:
    moorage, large = await world.app(), LARGE[transport]
    client = await world.client(transports=[transport])
    await moorage.sio.emit("all", large)
    await moorage.sio.emit("one", large, to=client.get_sid())
    assert sorted((name, len(text)) for name, text in await client.heard.some(2)) == [
        ("all", len(large)),
        ("one", len(large)),
    ]
    for number in range(30):
        await moorage.sio.emit("news", (number, "x" * 200_000))
    assert [event[1] for event in await client.heard.some(30)] == list(range(30))
    with pytest.raises(TooLarge, match=r"links\.max_frame"):
        await moorage.sio.emit("all", TOO_LARGE)


@pytest.mark.parametrize("transport", ["websocket", "polling"])
async def test_threads(service: MoorageProcess, transport: str) -> None:
    async with world_of(service) as world:
        moorage = await world.serve()
        client = await world.client(transports=[transport])

        def emit(*what: Any) -> Any:
            return asyncio.to_thread(moorage.sio.emit, *what)

        large = LARGE[transport]
        await emit("all", large)
        name, text = await next_of(client.heard)
        assert (name, len(text)) == ("all", len(large))
        for number in range(30):
            await emit("news", (number, "x" * 200_000))
        assert [(await next_of(client.heard))[1] for _ in range(30)] == list(range(30))
        with pytest.raises(TooLarge, match=r"links\.max_frame"):
            await emit("all", TOO_LARGE)
