"""A thousand clients that read nothing, and an app server that goes on sending to each of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from moorage.wire.moorage import v1
from tests.support.app_link import AppServer
from tests.support.rawhttp import Polling, clients
from tests.support.rawws import WebSocket
from tests.support.service import MoorageProcess
from tests.support.tunnel_link import TunnelLink

pytestmark = pytest.mark.repair(15)

HUB = "app"
COUNT = 1_000
SIZE = 100_000
MIB = 1024 * 1024
TOTAL = 32 * MIB
PACKET = '42["' + "x" * SIZE + '"]'

Emit = Callable[[str], Awaitable[object]]


async def silent(url: str) -> str:
    """A client that connects and never polls; its id."""
    return (await Polling(url, clients(HUB)).open()).sid


async def flood(service: MoorageProcess, emit: Emit) -> None:
    """Three emits to each of the silent ones, 300 MB in all. One that reads gets everything."""
    sids: list[str] = []
    for _ in range(COUNT // 50):
        sids += await asyncio.gather(*(silent(service.url) for _ in range(50)))
    async with await WebSocket.session(service.url, clients(HUB)) as reader:
        before = service.memory("VmRSS")
        for _ in range(3):
            for sid in sids:
                await emit(sid)
            await emit(reader.sid)
            assert await reader.text() == PACKET
        assert service.memory("VmRSS") - before < TOTAL + 48 * MIB
        assert service.metric("moorage_slow_client_closes_total") > COUNT // 4


async def test_memory_is_bounded_in_the_azure_dialect() -> None:
    with MoorageProcess("--set", f"limits.outbox_total_bytes={TOTAL}") as service:
        async with AppServer(service, HUB) as app:
            await flood(service, lambda sid: app.send(sid, PACKET))


async def test_memory_is_bounded_in_the_moorage_dialect() -> None:
    with MoorageProcess("--set", f"limits.outbox_total_bytes={TOTAL}") as service:
        async with TunnelLink(service, HUB) as app:

            async def emit(sid: str) -> None:
                number = numbers.get(sid)
                if number is None:
                    numbers.update({opened.id: client for client, opened in app.clients.items()})
                    number = numbers[sid]
                while app.out.waiting > 4 * MIB:
                    await asyncio.sleep(0.01)
                await app.say(v1.Packet(number, PACKET.encode()))

            numbers: dict[str, int] = {}
            await flood(service, emit)
