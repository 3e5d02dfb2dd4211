"""Connects, one after the other."""

from __future__ import annotations

import asyncio

import pytest

from tests.load.servers import Server
from tests.load.stages import staged
from tests.support.programs import free_port


@pytest.mark.parametrize("transport", ["websocket", "polling"])
async def test_again_and_again(server: Server, transport: str) -> None:
    async with staged("connects", server.url, clients=2, transport=transport) as stage:
        figures = await stage.play(0.8)
        assert figures["sent"] == figures["received"] > 2
        assert (figures["lost"], figures["errors"]) == (0, 0)
        assert stage.stage.tally.connected == 0


async def test_a_rate(server: Server) -> None:
    async with staged("connects", server.url, rate=50.0) as stage:
        figures = await stage.play(0.4)
        assert (figures["sent"], figures["received"]) == (20, 20)
        assert len(stage.totals.histograms["lag"]) == 20


async def test_a_rate_above_what_the_clients_can_do(server: Server) -> None:
    async with staged("connects", server.url, clients=1, rate=1000.0, timeout=60.0) as stage:
        figures = await stage.play(0.1)
        assert figures["sent"] == figures["received"] == 100


async def test_failures(server: Server) -> None:
    async with staged("connects", f"http://127.0.0.1:{free_port()}", clients=1, rate=100.0) as stage:
        figures = await stage.play(0.1)
        assert (figures["sent"], figures["received"], figures["lost"]) == (10, 0, 10)


async def test_what_comes_too_late_is_lost(server: Server) -> None:
    async with staged("connects", server.url, clients=1, rate=20_000.0, timeout=0.2) as stage:
        figures = await asyncio.wait_for(stage.play(0.2), 20.0)
        assert figures["sent"] == 4_000
        assert figures["lost"] == 4_000 - figures["received"] > 0
