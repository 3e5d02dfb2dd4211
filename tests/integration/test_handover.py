"""Clients change their app server at real nodes: a hand-over at two of them, and an app server that dies."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack

import pytest

from tests.conformance.apps import App as AppProcess
from tests.integration.test_coverage import App, Cluster
from tests.integration.test_nodes import until
from tests.integration.test_python_client import Client
from tests.sdk.contract.executors import Executor
from tests.support.nats_server import NatsServer
from tests.support.python_client import PATIENCE
from tests.support.service import MoorageProcess

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(params=["asyncio", "threads"])
def executor(request: pytest.FixtureRequest) -> Executor:
    return Executor(request.param)


@pytest.fixture(scope="module")
def pair() -> Iterator[Cluster]:
    """Two nodes that no test ends."""
    with NatsServer() as nats, ExitStack() as stack:
        cluster = Cluster(nats)
        stack.callback(cluster.end)
        cluster.start("one", "two")
        yield cluster


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as made:
        yield made


async def test_each_node_moves_its_own_clients(
    pair: Cluster, stack: AsyncExitStack, executor: Executor
) -> None:
    hub = f"moving_{executor.name}"
    first = App(executor, stack, hub)
    await first.link(pair.nodes["one"])
    clients = [await first.connect(name, process) for name, process in pair.nodes.items()]
    for number, sid in enumerate(first.sids.values()):
        await first.call(first.sio.enter_room, sid, "red")
        await first.call(first.sio.save_session, sid, {"number": number})
    second = App(executor, stack, hub)
    await second.link(pair.nodes["two"])
    assert await first.call(first.moorage.hand_over) == (2, ())
    assert {await second.arrived.get() for _ in clients} == set(first.sids.values())
    for number, (client, sid) in enumerate(zip(clients, first.sids.values(), strict=True)):
        assert await client.sio.call("echo", number) == number
        assert await second.call(second.sio.get_session, sid) == {"number": number}
        assert await second.call(second.sio.call, "x", number, to=sid) == ["got", number]
        assert await client.next() == ("x", number)
    await second.call(second.sio.emit, "all", 1, room="red")
    await first.call(first.sio.emit, "all", 2, room="red")
    for client in clients:
        assert sorted([await client.next(), await client.next()]) == [("all", 1), ("all", 2)]
    assert first.gone.empty()
    assert second.gone.empty()


@pytest.mark.node
async def test_clients_of_an_app_server_that_dies_move_if_the_hub_says_so(stack: AsyncExitStack) -> None:
    settings = ("hubs.moving.on_app_loss=move", "links.grace=0.5")
    flags = [part for setting in settings for part in ("--set", setting)]
    with MoorageProcess(*flags) as service:
        dying = AppProcess("python")
        stack.callback(dying.kill)
        dying.link(service.connection_string, "moving")
        dying.call("define", ns="/")
        client = Client()
        await stack.enter_async_context(client)
        await client.sio.connect(
            service.url,
            socketio_path="clients/socketio/hubs/moving",
            transports=["websocket"],
            wait_timeout=PATIENCE,
        )
        assert await client.sio.call("echo", 1) == 1
        sid = client.sio.get_sid()
        assert sid is not None
        dying.call("join", ns="/", sid=sid, rooms=["red"])
        second = App(Executor("asyncio"), stack, "moving")
        await second.link(service)
        dying.kill()
        assert await second.arrived.get() == sid
        assert await client.sio.call("echo", 2) == 2
        assert set(second.sio.rooms(sid)) == {sid, "red"}
        assert client.heard.empty()
        until(lambda: service.metric('moorage_handovers_total{result="moved"}') == 1, "it is counted")
