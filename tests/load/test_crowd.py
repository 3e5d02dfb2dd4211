"""Many connects, refusals, and servers that stay silent."""

from __future__ import annotations

import asyncio
import socket
from contextlib import closing

import pytest

from moorage.load import crowd as crowd_module
from moorage.load.client import State
from tests.load.servers import Server
from tests.load.stages import staged
from tests.support.programs import free_port

TRANSPORTS = ["websocket", "polling"]


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_all_clients_join(server: Server, transport: str) -> None:
    async with staged("idle", server.url, clients=30, opening=4, transport=transport) as stage:
        await stage.scenario.prepare()
        assert stage.stage.tally.connected == 30
        assert len({client.sid for client in stage.scenario.clients}) == 30


async def test_without_a_server_it_gives_up() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    async with staged("idle", url, clients=500, opening=10) as stage:
        await stage.scenario.prepare()
        figures = stage.figures
        assert crowd_module.GIVE_UP <= figures["failed"] < 500
        assert stage.totals.errors == {"connection refused": figures["failed"]}


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_refused_client_fails_alone(server: Server, transport: str) -> None:
    async with staged("idle", server.url, clients=2, transport=transport) as stage:
        stage.scenario.clients[0].auth = {"token": "wrong"}
        await stage.scenario.prepare()
        assert [client.state for client in stage.scenario.clients] == [State.CLOSED, State.READY]
        (error,) = stage.stage.tally.report(0, 0).errors
        assert error.startswith("the namespace refused the client: ")


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_server_that_never_answers(transport: str) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        async with staged("idle", url, clients=1, timeout=0.2, transport=transport) as stage:
            await stage.scenario.prepare()
            assert stage.figures["failed"] == 1
            (error,) = stage.totals.errors
            assert error.endswith("within 0.2 s")


async def test_a_namespace_that_never_answers(server: Server) -> None:
    async with staged("idle", server.url, clients=1, timeout=0.3) as stage:
        # The dialect asks for one namespace and waits for the answer of another one.
        stage.stage.dialect.connect = b"40/x,"  # type: ignore[misc]
        stage.scenario.clients[0]._dialect.refused = b"44/y,"  # type: ignore[misc]
        await stage.scenario.prepare()
        assert stage.figures["failed"] == 1


async def test_a_silent_server_is_noticed(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crowd_module, "WATCH_SECONDS", 0.01)
    async with staged("idle", server.url, clients=1) as stage:
        await stage.scenario.prepare()
        (client,) = stage.scenario.clients
        client.silence = 1
        watch = asyncio.create_task(stage.stage.crowd.watch(stage.scenario.clients))
        while client.state is not State.CLOSED:
            await asyncio.sleep(0.01)
        watch.cancel()
        assert stage.figures["disconnects"] == 1
        assert list(stage.totals.errors) == ["no ping from the server in time"]


async def test_a_stopped_crowd_opens_no_more(server: Server) -> None:
    async with staged("idle", server.url, clients=3) as stage:
        stage.stage.crowd.stop()
        await stage.scenario.prepare()
        assert stage.stage.tally.connected == 0
