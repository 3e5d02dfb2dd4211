"""One app server with a session at each of several real nodes, in both Python SDKs."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack
from itertools import count
from typing import Any

import pytest

from tests.integration.test_nodes import until
from tests.integration.test_python_client import Client
from tests.sdk.contract.executors import Executor
from tests.support.nats_server import NatsServer
from tests.support.programs import free_port
from tests.support.service import MoorageProcess

pytestmark = pytest.mark.timeout(120)
_hubs = count(1)
SECONDS = 20.0


class Cluster:
    """Nodes that app servers reach, each by its own address."""

    def __init__(self, server: NatsServer) -> None:
        self.nats = server
        self._key = secrets.token_hex(16)
        self._name = f"coverage{next(_hubs)}"
        self.nodes: dict[str, MoorageProcess] = {}

    def start(self, *names: str) -> None:
        """Start nodes, all at the same time."""
        made = []
        for name in names:
            port = free_port()
            settings = (
                f"cluster.nats_url={self.nats.url}",
                f"cluster.name={self._name}",
                f"cluster.node_name={name}",
                f"cluster.advertise=http://127.0.0.1:{port}",
                "shutdown.grace=0",
                "shutdown.spread=0",
            )
            flags = [part for setting in settings for part in ("--set", setting)]
            flags.append(f"--port={port}")
            made.append(MoorageProcess(*flags, command="serve", key=self._key))
            self.nodes[name] = made[-1]
        for process in made:
            process.__enter__()
        for process in made:
            until(lambda process=process: process.get("/readyz")[0] == 200, "ready")  # type: ignore[misc]

    def end(self) -> None:
        """Kill all."""
        for process in self.nodes.values():
            process.kill()


class App:
    """An app server of either SDK, and clients at nodes that the test names."""

    def __init__(self, executor: Executor, stack: AsyncExitStack, hub: str) -> None:
        self.executor = executor
        self.hub = hub
        self._stack = stack
        self._loop = asyncio.get_running_loop()
        self.sio = executor.server()
        self.arrived: asyncio.Queue[str] = asyncio.Queue()
        self.gone: asyncio.Queue[str] = asyncio.Queue()
        self.clients: dict[str, Client] = {}
        self.sids: dict[str, str] = {}
        self.moorage: Any = None
        self.sio.on("connect", self._connected)
        self.sio.on("disconnect", self._disconnected)
        self.sio.on("echo", lambda _sid, value: value)

    def _connected(self, sid: str, _environ: object) -> None:
        self._loop.call_soon_threadsafe(self.arrived.put_nowait, sid)

    def _disconnected(self, sid: str, _reason: str) -> None:
        self._loop.call_soon_threadsafe(self.gone.put_nowait, sid)

    async def link(self, process: MoorageProcess, **options: Any) -> None:
        """Open the first session at this node."""
        self.moorage = await self.executor.link(
            self.sio, process.connection_string, **{"hub": self.hub, **options}
        )
        self._stack.push_async_callback(self.executor.call, self.moorage.close)

    async def connect(self, name: str, process: MoorageProcess) -> Client:
        """A client at a node. It gets the app server of the test, as there is no other."""
        client = self.clients[name] = Client()
        await self._stack.enter_async_context(client)
        await client.sio.connect(
            process.url, socketio_path=f"clients/socketio/hubs/{self.hub}", transports=["websocket"]
        )
        self.sids[name] = await self.arrived.get()
        return client

    async def call(self, function: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """Call something that waits."""
        async with asyncio.timeout(SECONDS):
            return await self.executor.call(function, *args, **options)


@pytest.fixture(params=["asyncio", "threads"])
def executor(request: pytest.FixtureRequest) -> Executor:
    return Executor(request.param)


@pytest.fixture(scope="module")
def server() -> Iterator[NatsServer]:
    with NatsServer() as running:
        yield running


@pytest.fixture(scope="module")
def pair(server: NatsServer) -> Iterator[Cluster]:
    """Two nodes that no test ends."""
    with ExitStack() as stack:
        cluster = Cluster(server)
        stack.callback(cluster.end)
        cluster.start("one", "two")
        yield cluster


@pytest.fixture
def cluster(server: NatsServer) -> Iterator[Cluster]:
    """No nodes yet."""
    made = Cluster(server)
    yield made
    made.end()


@pytest.fixture
async def app(executor: Executor) -> AsyncIterator[App]:
    async with AsyncExitStack() as stack:
        yield App(executor, stack, f"coverage_{next(_hubs)}")


@pytest.fixture
async def covering(app: App, pair: Cluster) -> App:
    """An app server that covers both nodes, with a client at each."""
    await app.link(pair.nodes["one"])
    assert sorted(app.moorage.nodes) == ["one", "two"], "use_moorage waits for all sessions"
    for name, process in pair.nodes.items():
        await app.connect(name, process)
    return app


async def test_emits_reach_the_clients_of_all_nodes_once(covering: App) -> None:
    app, (one, two) = covering, covering.clients.values()
    await app.call(app.sio.emit, "to all", {"n": 1})
    await app.call(app.sio.emit, "but one", skip_sid=app.sids["one"])
    for name, sid in app.sids.items():
        await app.call(app.sio.emit, "direct", name, to=sid)
    assert [await one.next() for _ in range(2)] == [("to all", {"n": 1}), ("direct", "one")]
    assert [await two.next() for _ in range(3)] == [("to all", {"n": 1}), ("but one",), ("direct", "two")]
