"""Acked events."""

from __future__ import annotations

import pytest

from tests.load.servers import Server
from tests.load.stages import staged
from tests.support.programs import free_port


@pytest.mark.parametrize("transport", ["websocket", "polling"])
@pytest.mark.parametrize("namespace", ["/", "/admin"])
async def test_each_client_sends_again_when_it_has_its_answer(
    server: Server, transport: str, namespace: str
) -> None:
    options = {"transport": transport, "namespace": namespace, "verify": True, "outstanding": 2}
    async with staged("echo", server.url, **options) as stage:
        figures = await stage.play(0.6)
        assert figures["sent"] == figures["received"] > 10, "more than at first"
        assert (figures["lost"], figures["wrong"], figures["errors"]) == (0, 0, 0)
        assert len(stage.totals.histograms["latency"]) == figures["received"]


async def test_a_rate_is_kept(server: Server) -> None:
    async with staged("echo", server.url, rate=100.0, outstanding=1000) as stage:
        figures = await stage.play(0.5)
        assert (figures["sent"], figures["received"], figures["lost"]) == (50, 50, 0)
        assert len(stage.totals.histograms["lag"]) == 50


async def test_late_events_count_from_their_intended_time(server: Server) -> None:
    """Ten events in 0.1 s, one at a time, 20 ms each: the last is answered 0.1 s after its time."""
    server.behaviour.delay = 0.02
    try:
        async with staged("echo", server.url, clients=1, rate=100.0, outstanding=1) as stage:
            figures = await stage.play(0.1)
            assert figures["sent"] == figures["received"] == 10
            assert stage.totals.histograms["latency"].quantile(1.0) > 100_000_000
    finally:
        server.behaviour.delay = 0.0


async def test_what_has_no_answer_is_lost(server: Server) -> None:
    server.behaviour.silent = True
    try:
        async with staged("echo", server.url, timeout=3.0, rate=100.0, outstanding=1) as stage:
            figures = await stage.play(0.2)
            # Five are under way, the others wait behind them.
            assert (figures["sent"], figures["received"], figures["lost"]) == (20, 0, 20)
    finally:
        server.behaviour.silent = False


async def test_a_lost_client_fails_its_part(server: Server) -> None:
    async with staged("echo", server.url, clients=2, rate=100.0, outstanding=1000) as stage:
        await stage.scenario.prepare()
        tally = stage.stage.tally
        live = stage.scenario.live()
        stage.scenario.live = lambda: live  # type: ignore[method-assign]
        live[0].close()
        tally.connected -= 1
        figures = await stage.play(0.2)
        assert figures["sent"] == 20
        assert figures["received"] + figures["lost"] == 20


async def test_a_wrong_answer(server: Server) -> None:
    async with staged("echo", server.url, clients=1, verify=True) as stage:
        stage.scenario._expected = b'"something else"'  # type: ignore[attr-defined]
        figures = await stage.play(0.1)
        assert figures["wrong"] == figures["received"] > 0


async def test_an_answer_to_nothing(server: Server) -> None:
    async with staged("echo", server.url, clients=1) as stage:
        await stage.play(0.1)
        (client,) = stage.scenario.clients
        client.receive(b"4399999[]")
        assert stage.figures["errors"] == 1
        client.cut("cut")
        assert stage.figures["lost"] == 0


async def test_a_worker_without_clients_only_waits() -> None:
    async with staged("echo", f"http://127.0.0.1:{free_port()}", clients=1, rate=100.0) as stage:
        figures = await stage.play(0.1)
        assert (figures["sent"], figures["failed"]) == (0, 1)
