"""Two real nodes on a real nats-server. All app servers are linked to the first one, all clients connect to
the second one."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from itertools import count

import pytest
import socketio

from moorage.sdk import use_moorage
from tests.integration.test_nodes import nodes, until
from tests.integration.test_python_client import Client
from tests.support.nats_server import NatsServer
from tests.support.python_client import PATIENCE
from tests.support.service import MoorageProcess

pytestmark = pytest.mark.timeout(120)
_hubs = count(1)


@pytest.fixture(scope="module")
def processes() -> Iterator[list[MoorageProcess]]:
    """The host and the owner."""
    with NatsServer() as server, nodes(server, host=(), owner=()) as made:
        yield made


class App:
    """An app server at the host, and clients at the owner."""

    def __init__(self, processes: list[MoorageProcess], stack: AsyncExitStack) -> None:
        self.host, self.owner = processes
        self.hub = f"forwarded_{next(_hubs)}"
        self.stack = stack
        self.sio = socketio.AsyncServer(async_mode="asgi")
        self.arrived: asyncio.Queue[str] = asyncio.Queue()
        self.left: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
        self.sio.on("connect", self._connected)
        self.sio.on("disconnect", self._disconnected)
        self.sio.on("echo", lambda sid, *args: args)

    async def _connected(self, sid: str, _environ: object, auth: object) -> None:
        if auth == {"name": "stranger"}:
            raise socketio.exceptions.ConnectionRefusedError("no strangers")
        self.arrived.put_nowait(sid)

    async def _disconnected(self, sid: str, reason: str) -> None:
        self.left.put_nowait((sid, reason))

    async def start(self) -> None:
        """Link the app server, and let the owner learn of it."""
        self.moorage = await use_moorage(
            self.sio, hub=self.hub, connection_string=self.host.connection_string
        )
        self.stack.push_async_callback(self.moorage.close)
        await self.announced()

    async def announced(self) -> None:
        """Wait until the owner knows the app server."""
        await asyncio.to_thread(until, self._is_announced, "the app server is announced")

    def _is_announced(self) -> bool:
        return self.owner.metric(f'moorage_cluster_app_servers{{hub="{self.hub}"}}') == 1

    async def client(self, transport: str = "websocket", **auth: str) -> tuple[Client, str]:
        """A client of the owner, and its socket id."""
        client = await self.stack.enter_async_context(Client())
        await client.sio.connect(
            self.owner.url,
            socketio_path=f"clients/socketio/hubs/{self.hub}",
            transports=[transport],
            auth=auth or None,
            wait_timeout=PATIENCE,
        )
        return client, await self.arrived.get()


@pytest.fixture
async def app(processes: list[MoorageProcess]) -> AsyncIterator[App]:
    async with AsyncExitStack() as stack:
        made = App(processes, stack)
        await made.start()
        yield made


@pytest.mark.parametrize("transport", ["websocket", "polling"])
async def test_a_whole_life(app: App, transport: str) -> None:
    client, sid = await app.client(transport)
    assert await client.sio.call("echo", {"n": 1}) == {"n": 1}
    assert await client.sio.call("echo", b"bytes") == b"bytes"
    await app.sio.emit("one", b"\0\1", to=sid)
    assert await client.next() == ("one", b"\0\1")
    assert await app.sio.call("question", "x", to=sid) == ["got", "x"]
    assert await client.next() == ("question", "x")
    await app.sio.enter_room(sid, "room")
    await app.sio.emit("to a room", room="room")
    assert await client.next() == ("to a room",)
    (found,) = await app.moorage.fetch_sockets()
    assert (found.id, set(found.rooms)) == (sid, {sid, "room"})
    await client.leave()
    # Over WebSocket, the stock client closes before its DISCONNECT has left.
    assert await app.left.get() in [(sid, "client disconnect"), (sid, "transport close")]


@pytest.mark.parametrize("transport", ["websocket", "polling"])
async def test_a_refusal_reaches_the_client(app: App, transport: str) -> None:
    async with Client() as client:
        with pytest.raises(socketio.exceptions.ConnectionError, match="failed to connect"):
            await client.sio.connect(
                app.owner.url,
                socketio_path=f"clients/socketio/hubs/{app.hub}",
                transports=[transport],
                auth={"name": "stranger"},
                wait_timeout=PATIENCE,
            )
        assert await client.next() == ("connect_error", {"message": "no strangers"})


async def test_an_app_server_that_leaves_closes_its_clients_at_once(app: App) -> None:
    client, _ = await app.client()
    await app.moorage.close()
    assert (await client.next())[0] == "disconnect"


@pytest.fixture(scope="module")
def mortals() -> Iterator[list[MoorageProcess]]:
    """Three nodes that a test may stop: the host and two owners."""
    with NatsServer() as server, nodes(server, host=(), owner=(), other=()) as made:
        yield made


async def test_a_node_that_freezes_is_reported_once_and_comes_back(mortals: list[MoorageProcess]) -> None:
    host, owner, _ = mortals
    async with AsyncExitStack() as stack:
        app = App([host, owner], stack)
        await app.start()
        client, sid = await app.client()
        owner.signal(signal.SIGSTOP)
        try:
            assert await asyncio.wait_for(app.left.get(), 10) == (sid, "transport close")
        finally:
            owner.signal(signal.SIGCONT)
        # The node closes the client, because the app server has been told of its end.
        assert (await client.next())[0] == "disconnect"
        await app.announced()
        again, sid = await app.client()
        assert await again.sio.call("echo", 1) == 1
        assert app.left.empty()
        await again.leave()
        assert (await app.left.get())[0] == sid


async def test_a_node_that_is_killed_is_reported_once(mortals: list[MoorageProcess]) -> None:
    host, owner, other = mortals
    async with AsyncExitStack() as stack:
        app = App([host, owner], stack)
        await app.start()
        _, sid = await app.client()
        elsewhere = App([host, other], stack)
        elsewhere.hub = app.hub
        elsewhere.arrived = app.arrived
        untouched, kept = await elsewhere.client()
        owner.signal(signal.SIGKILL)
        assert await asyncio.wait_for(app.left.get(), 10) == (sid, "transport close")
        assert await untouched.sio.call("echo", 1) == 1
        # The node of the app server is gone: its clients are closed, and may come back to another one.
        host.signal(signal.SIGKILL)
        assert (await untouched.next())[0] == "disconnect"
        assert (app.left.empty(), kept != sid) == (True, True)
