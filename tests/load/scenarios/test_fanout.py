"""Broadcasts."""

from __future__ import annotations

import pytest

from moorage.load.packets import Stamp, stamped
from tests.load.servers import Server
from tests.load.stages import staged

OPTIONS = {"event": "publish", "senders": 1, "rate": 50.0}


@pytest.mark.parametrize("transport", ["websocket", "polling"])
async def test_everybody_gets_each_broadcast_once(server: Server, transport: str) -> None:
    async with staged("fanout", server.url, transport=transport, **OPTIONS) as stage:
        figures = await stage.play(0.4)
        assert (figures["sent"], figures["received"]) == (20, 100)
        assert (figures["lost"], figures["repeated"], figures["misordered"]) == (0, 0, 0)


async def test_two_senders(server: Server) -> None:
    async with staged("fanout", server.url, **{**OPTIONS, "senders": 2}) as stage:
        figures = await stage.play(0.2)
        assert (figures["received"], figures["repeated"], figures["misordered"]) == (50, 0, 0)


async def test_what_arrives_twice_is_counted(server: Server) -> None:
    server.behaviour.twice = True
    try:
        async with staged("fanout", server.url, **OPTIONS) as stage:
            figures = await stage.play(0.2)
            assert (figures["received"], figures["repeated"], figures["lost"]) == (50, 50, 0)
    finally:
        server.behaviour.twice = False


async def test_lost_late_and_foreign_events(server: Server) -> None:
    async with staged("fanout", server.url, clients=1, event="publish", senders=0) as stage:
        await stage.play(0.05)
        (client,) = stage.scenario.clients
        tally = stage.stage.tally
        for number in (0, 2, 1, 1):
            text = stamped(Stamp(0, number, tally.since), 60)
            client.receive(f'42["news","{text}"]'.encode())
        client.receive(b'42["other"]')
        tally.sent = 4
        figures = stage.figures
        assert (figures["received"], figures["misordered"], figures["repeated"]) == (3, 1, 1)
        assert figures["lost"] == 1


async def test_a_sender_that_is_gone_sends_nothing(server: Server) -> None:
    async with staged("fanout", server.url, **OPTIONS) as stage:
        await stage.scenario.prepare()
        sender = stage.scenario.clients[0]
        stage.scenario.live = lambda: stage.scenario.clients  # type: ignore[method-assign]
        sender.close()
        figures = await stage.play(0.1)
        assert (figures["sent"], figures["received"]) == (5, 0)
