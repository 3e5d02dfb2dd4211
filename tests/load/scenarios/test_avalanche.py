"""A restart of the server."""

from __future__ import annotations

import pytest

from moorage.load.crowd import clock
from moorage.load.scenarios import returning
from tests.load.servers import Server
from tests.load.stages import staged


async def test_it_ends_when_all_are_back(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(returning, "delay", lambda attempt: 0.05)
    async with staged("avalanche", server.url) as stage:
        load = stage.scenario.load

        async def restarted(since: int) -> None:
            for client in stage.scenario.clients:
                client.cut("the server was restarted")
            await load(since)

        stage.scenario.load = restarted  # type: ignore[method-assign]
        began = clock()
        figures = await stage.play(30.0)
        assert clock() - began < 20e9
        assert (figures["disconnects"], figures["reconnects"], figures["missing"]) == (5, 5, 0)
        assert figures["errors"] == 0
        assert len(stage.totals.histograms["latency"]) == 5


async def test_the_restart_command_and_its_failure(server: Server) -> None:
    async with staged("avalanche", server.url, clients=1, restart="echo no such thing >&2; exit 3") as stage:
        await stage.play(0.5)
        assert list(stage.totals.errors) == ["the restart command ended with 3: no such thing"]
