"""Clients that come back."""

from __future__ import annotations

import asyncio

import pytest

from moorage.load.scenarios import returning
from moorage.load.scenarios.returning import DELAY, LONGEST, RANDOMIZATION, delay
from tests.load.servers import Server
from tests.load.stages import staged


def test_the_waits_of_the_stock_client() -> None:
    first = [delay(0) for _ in range(200)]
    assert DELAY * (1 - RANDOMIZATION) <= min(first) < max(first) <= DELAY * (1 + RANDOMIZATION)
    late = [delay(20) for _ in range(200)]
    assert LONGEST / 2 <= min(late) < max(late) == LONGEST


async def test_attempts_go_on_until_one_succeeds(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(returning, "delay", lambda attempt: 0.01)
    async with staged("avalanche", server.url, clients=1) as stage:
        await stage.scenario.prepare()
        (client,) = stage.scenario.clients
        client.auth = {"token": "wrong"}
        stage.scenario._running = True  # type: ignore[attr-defined]
        client.cut("cut")
        assert stage.scenario.is_away()  # type: ignore[attr-defined]
        while stage.figures["errors"] < 2:
            await asyncio.sleep(0.01)
        client.auth = None
        await stage.scenario.settle()
        figures = stage.figures
        assert (figures["reconnects"], figures["missing"]) == (1, 0)
        assert figures["attempts"] >= 2


async def test_a_client_that_does_not_come_back(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(returning, "LONGEST", 0.1)
    monkeypatch.setattr(returning, "delay", lambda attempt: 0.05)
    async with staged("avalanche", server.url, clients=1, timeout=3.0) as stage:
        await stage.scenario.prepare()
        (client,) = stage.scenario.clients
        client.auth = {"token": "wrong"}
        stage.scenario._running = True  # type: ignore[attr-defined]
        client.cut("cut")
        await stage.scenario.settle()
        assert (stage.figures["missing"], stage.figures["reconnects"]) == (1, 0)
        client.auth = None


async def test_before_the_load_a_failure_is_a_failure(server: Server) -> None:
    async with staged("avalanche", server.url, clients=1) as stage:
        stage.scenario.clients[0].auth = {"token": "wrong"}
        await stage.scenario.prepare()
        assert stage.figures["failed"] == 1
