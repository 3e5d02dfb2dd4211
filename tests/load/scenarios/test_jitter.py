"""Connections that break again and again."""

from __future__ import annotations

import pytest

from moorage.load.scenarios import returning
from tests.load.servers import Server
from tests.load.stages import staged


@pytest.mark.parametrize("transport", ["websocket", "polling"])
async def test_cuts_are_counted_and_clients_return(
    server: Server, transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(returning, "delay", lambda attempt: 0.02)
    options = {"transport": transport, "event": "publish", "senders": 1, "rate": 50.0, "cut_every": 0.2}
    async with staged("jitter", server.url, **options) as stage:
        figures = await stage.play(1.0)
        assert figures["cuts"] == figures["reconnects"] > 1
        assert figures["disconnects"] == 0
        # python-socketio does not recover connections, so messages are lost.
        assert (figures["recovered"], figures["unrecovered"]) == (0, figures["reconnects"])
        assert figures["lost"] == figures["sent"] * 5 - figures["received"] > 0
        assert (figures["repeated"], figures["missing"], figures["errors"]) == (0, 0, 0)
        assert stage.totals.histograms["latency"].smallest() >= 19_000_000


async def test_a_loss_that_is_not_ours_is_an_error(server: Server) -> None:
    async with staged("jitter", server.url, clients=1, senders=1, rate=1.0) as stage:
        await stage.scenario.prepare()
        stage.scenario._running = True  # type: ignore[attr-defined]
        stage.scenario.clients[0].cut("something else")
        assert stage.figures["errors"] == 1
