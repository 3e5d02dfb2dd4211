"""What scenarios share, seen at `idle`."""

from __future__ import annotations

from moorage.load.client import State
from moorage.load.crowd import clock
from moorage.load.scenarios.base import pause_until, wait_for
from tests.load.servers import Server
from tests.load.stages import staged


async def test_clients_that_stay(server: Server) -> None:
    async with staged("idle", server.url) as stage:
        figures = await stage.play(0.2)
        assert figures == {"failed": 0, "disconnects": 0, "errors": 0}
        assert len(stage.scenario.live()) == 5


async def test_a_lost_client_is_counted_and_stays_away(server: Server) -> None:
    async with staged("idle", server.url) as stage:
        await stage.scenario.prepare()
        stage.scenario.clients[0].cut("cut")
        assert stage.scenario.clients[0].state is State.CLOSED
        assert (stage.stage.tally.connected, stage.figures["disconnects"]) == (4, 1)


async def test_an_ack_for_nobody_is_an_error_and_foreign_events_are_none(server: Server) -> None:
    async with staged("idle", server.url, clients=1) as stage:
        (client,) = stage.scenario.clients
        stage.scenario.acked(client, 1, b"431[]")
        stage.scenario.event(client, b'42["x"]')
        assert stage.figures["errors"] == 1


async def test_waiting() -> None:
    assert await wait_for(lambda: True, 0.0)
    assert not await wait_for(lambda: False, 0.01)
    began = clock()
    await pause_until(began + 10_000_000)
    assert clock() - began >= 10_000_000
