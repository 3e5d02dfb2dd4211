"""One app server with a session at each of several real nodes, in both Python SDKs."""

from __future__ import annotations

import asyncio
import secrets
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, suppress
from itertools import count
from typing import Any

import pytest
import socketio

from tests.integration.test_nodes import until
from tests.integration.test_python_client import Client
from tests.sdk.contract.executors import Executor
from tests.support.nats_server import NatsServer
from tests.support.programs import free_port
from tests.support.python_client import PATIENCE
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
        """Start nodes, all at the same time. App servers do not reach those whose names begin with `far`."""
        made = []
        for name in names:
            port = free_port()
            settings = (
                f"cluster.nats_url={self.nats.url}",
                f"cluster.name={self._name}",
                f"cluster.node_name={name}",
                f"cluster.advertise={'' if name.startswith('far') else f'http://127.0.0.1:{port}'}",
                "shutdown.lb_wait=0",
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
        """A client at a node. It gets the app server of the test, as there is no other. A node without a
        session of the app server hears of it a moment later."""
        client = self.clients[name] = Client()
        await self._stack.enter_async_context(client)
        async with asyncio.timeout(SECONDS):
            while not client.sio.connected:
                with suppress(socketio.exceptions.ConnectionError):
                    await client.sio.connect(
                        process.url,
                        socketio_path=f"clients/socketio/hubs/{self.hub}",
                        transports=["websocket"],
                        wait_timeout=PATIENCE,
                    )
        self.sids[name] = await self.arrived.get()
        while not client.heard.empty():
            client.heard.get_nowait()  # a refused attempt
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


async def test_rooms_acks_and_questions_cross_the_sessions(covering: App) -> None:
    app = covering
    moorage, sids = app.moorage, app.sids
    one, two = app.clients.values()
    assert await app.call(moorage.sockets_join, "all") == 2
    await app.call(app.sio.enter_room, sids["two"], "room")
    await app.call(app.sio.emit, "to a room", room="room")
    assert await two.next() == ("to a room",)
    acks = await app.call(moorage.emit_with_acks, "question", "x", to="all")
    assert (acks.answers, acks.missing) == ({key: ["got", "x"] for key in sids.values()}, ())
    assert await app.call(app.sio.call, "direct", to=sids["two"]) == ["got"]
    assert [await two.next() for _ in range(2)] == [("question", "x"), ("direct",)]
    assert await one.next() == ("question", "x")
    await app.call(app.sio.save_session, sids["two"], {"name": "Ada"})
    found = await app.call(moorage.fetch_sockets)
    assert {socket.id: socket.data for socket in found} == {sids["one"]: {}, sids["two"]: {"name": "Ada"}}
    assert found.missing == ()
    assert all("all" in socket.rooms and socket.handshake["headers"] for socket in found)
    assert [server.clients for server in await app.call(moorage.servers)] == [2]
    assert await app.call(moorage.sockets_leave, "all", to="room") == 1
    assert await app.call(moorage.disconnect_sockets, to=sids["two"]) == 1
    assert await app.gone.get() == sids["two"]


async def test_two_app_servers_that_cover_the_same_nodes(app: App, executor: Executor, pair: Cluster) -> None:
    async with AsyncExitStack() as stack:
        other = App(executor, stack, app.hub)
        await app.link(pair.nodes["one"])
        await app.connect("one", pair.nodes["one"])
        await app.connect("two", pair.nodes["two"])
        await other.link(pair.nodes["two"], emit_only=True)
        assert sorted(other.moorage.nodes) == ["one", "two"]
        await app.call(app.sio.save_session, app.sids["one"], 1)
        await app.call(app.sio.save_session, app.sids["two"], 2)
        found = await other.call(other.moorage.fetch_sockets)
        assert {socket.id: socket.data for socket in found} == {app.sids["one"]: 1, app.sids["two"]: 2}
        await other.call(other.sio.emit, "from the other", to=app.sids["two"])
        assert await app.clients["two"].next() == ("from the other",)
        assert await other.call(other.moorage.sockets_join, "new", to=app.sids["two"]) == 1
        # The answer came on the other app server's link, the news comes on this one's.
        async with asyncio.timeout(10):
            while "new" not in app.sio.rooms(app.sids["two"]):
                await asyncio.sleep(0.01)
        app.moorage.on_server_event("ask")(lambda value: value + 1)
        acks = await other.call(other.moorage.server_side_emit_with_ack, "ask", 1)
        assert (acks.answers, acks.missing) == ({app.moorage.server_id: 2}, ()), "each is told once"


async def test_emits_of_all_kinds_keep_their_order(covering: App) -> None:
    app = covering
    rounds = 60
    await app.call(app.sio.enter_room, app.sids["one"], "room")
    await app.call(app.sio.enter_room, app.sids["two"], "room")
    for number in range(rounds):
        to: Any = (None, "room", None)[number % 3]
        if number % 3 < 2:
            await app.call(app.sio.emit, "n", number, room=to)
        else:
            for sid in app.sids.values():
                await app.call(app.sio.emit, "n", number, to=sid)
    for client in app.clients.values():
        assert [await client.next() for _ in range(rounds)] == [("n", number) for number in range(rounds)]


async def test_the_home_forwards_to_the_nodes_without_a_session(app: App, cluster: Cluster) -> None:
    cluster.start("one", "two", "far")
    await app.link(cluster.nodes["one"])
    assert sorted(app.moorage.nodes) == ["one", "two"]
    for name, process in cluster.nodes.items():
        await app.connect(name, process)
    assert await app.call(app.moorage.sockets_join, "room") == 3
    for number in range(20):
        await app.call(app.sio.emit, "n", number, room="room" if number % 2 else None)
    for client in app.clients.values():
        assert [await client.next() for _ in range(20)] == [("n", number) for number in range(20)]
    acks = await app.call(app.moorage.emit_with_acks, "question")
    assert acks.answers == {key: ["got"] for key in app.sids.values()}
    found = await app.call(app.moorage.fetch_sockets)
    assert sorted(socket.id for socket in found) == sorted(app.sids.values())
    # Another node becomes home, and goes on. The lost one may have had the client of the third node.
    cluster.nodes["one"].signal(signal.SIGKILL)
    await asyncio.to_thread(until, lambda: app.moorage.nodes == ("two",), "the node is given up")
    assert await app.clients["two"].next() == ("question",)
    await app.connect("far", cluster.nodes["far"])
    for number in range(20):
        await app.call(app.sio.emit, "later", number)
    for name in ("two", "far"):
        client = app.clients[name]
        assert [await client.next() for _ in range(20)] == [("later", number) for number in range(20)]


async def test_a_node_that_is_killed_takes_only_its_clients(app: App, cluster: Cluster) -> None:
    cluster.start("one", "two", "three")
    await app.link(cluster.nodes["one"])
    lost = asyncio.Event()
    app.moorage.on("session_lost", lambda _why: lost.set())
    for name, process in cluster.nodes.items():
        await app.connect(name, process)
    cluster.nodes["two"].signal(signal.SIGKILL)
    heard = 0
    async with asyncio.timeout(SECONDS):
        while app.gone.empty():
            await app.call(app.sio.emit, "n", heard)
            for name in ("one", "three"):
                assert await app.clients[name].next() == ("n", heard)
            heard += 1
            await asyncio.sleep(0.05)  # between two emits
    assert await app.gone.get() == app.sids["two"]
    assert app.moorage.nodes == ("one", "three")
    acks = await app.call(app.moorage.emit_with_acks, "question")
    assert acks.answers == {app.sids[name]: ["got"] for name in ("one", "three")}
    assert not lost.is_set()
    assert app.gone.empty()


async def test_a_node_that_starts_later_is_covered(app: App, cluster: Cluster) -> None:
    cluster.start("one")
    await app.link(cluster.nodes["one"])
    first = await app.connect("one", cluster.nodes["one"])
    assert app.moorage.nodes == ("one",)
    await asyncio.to_thread(cluster.start, "two")
    await asyncio.to_thread(until, lambda: app.moorage.nodes == ("one", "two"), "it is covered")
    second = await app.connect("two", cluster.nodes["two"])
    for number in range(10):
        await app.call(app.sio.emit, "n", number)
    for client in (first, second):
        assert [await client.next() for _ in range(10)] == [("n", number) for number in range(10)]


async def test_without_nats_covered_traffic_goes_on(app: App) -> None:
    with NatsServer() as server:
        cluster = Cluster(server)
        try:
            cluster.start("one", "two")
            await app.link(cluster.nodes["one"])
            for name, process in cluster.nodes.items():
                await app.connect(name, process)
            server.end()
            for process in cluster.nodes.values():
                await asyncio.to_thread(until, lambda p=process: p.get("/readyz")[0] == 503, "alone")  # type: ignore[misc]
            for number in range(10):
                await app.call(app.sio.emit, "n", number)
            for client in app.clients.values():
                assert [await client.next() for _ in range(10)] == [("n", number) for number in range(10)]
            assert app.gone.empty()
            server.start()
            for process in cluster.nodes.values():
                await asyncio.to_thread(until, lambda p=process: p.get("/readyz")[0] == 200, "together")  # type: ignore[misc]
            assert app.moorage.nodes == ("one", "two")
            acks = await app.call(app.moorage.emit_with_acks, "question")
            assert (len(acks), acks.missing) == (2, ())
        finally:
            await app.call(app.moorage.close)
            cluster.end()
