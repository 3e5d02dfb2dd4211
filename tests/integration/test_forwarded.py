"""Two real nodes on a real nats-server. All app servers are linked to the first one, all clients connect to
the second one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from itertools import count

import pytest
import socketio

from moorage.sdk import use_moorage
from tests.integration.test_nodes import nodes
from tests.integration.test_python_client import Client
from tests.support.nats_server import NatsServer
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
        while (
            f'moorage_cluster_app_servers{{hub="{self.hub}"}}' not in self.owner.get("/metrics")[1].decode()
        ):
            await asyncio.sleep(0.02)

    async def client(self, transport: str = "websocket", **auth: str) -> tuple[Client, str]:
        """A client of the owner, and its socket id."""
        client = await self.stack.enter_async_context(Client())
        await client.sio.connect(
            self.owner.url,
            socketio_path=f"clients/socketio/hubs/{self.hub}",
            transports=[transport],
            auth=auth or None,
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
    await client.sio.disconnect()
    # Over WebSocket, the stock client closes before its DISCONNECT has left.
    assert await app.left.get() in [(sid, "client disconnect"), (sid, "transport close")]
