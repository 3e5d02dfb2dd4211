"""The stock client of python-socketio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest
import socketio
from aiohttp import ClientSession
from socketio.exceptions import ConnectionError as ConnectError

from tests.conformance.capabilities import shows
from tests.conformance.program import PATIENCE
from tests.conformance.stage import Stage
from tests.support.python_client import leave

BYTES = bytes([0, 1, 254, 255])


class PythonClient:
    """A `socketio.AsyncClient` in the stage's namespace, and its received events."""

    def __init__(self, stage: Stage, session: ClientSession) -> None:
        self.stage = stage
        # Its own session would stay open after a refusal.
        self.inner: Any = socketio.AsyncClient(reconnection=False, http_session=session)
        self.heard: asyncio.Queue[tuple[Any, ...]] = asyncio.Queue()
        self.inner.on("*", self._event, namespace=stage.ns)
        self.inner.on("disconnect", self._disconnected, namespace=stage.ns)

    async def _event(self, name: str, *args: Any) -> Any:
        self.heard.put_nowait((name, *args))
        return args if name == "echo" else None

    async def _disconnected(self, reason: str) -> None:
        self.heard.put_nowait(("disconnect", reason))

    async def connect(self, **auth: Any) -> str:
        """Its socket id."""
        await self.inner.connect(
            self.stage.service.url,
            socketio_path=f"/clients/socketio/hubs/{self.stage.hub}/",
            transports=[self.stage.transport],
            namespaces=[self.stage.ns],
            auth=auth,
            wait_timeout=PATIENCE,
        )
        sid: str = self.inner.get_sid(namespace=self.stage.ns)
        return sid

    async def next(self) -> tuple[Any, ...]:
        """The next event."""
        return await asyncio.wait_for(self.heard.get(), PATIENCE)

    async def server(self, do: str, **fields: Any) -> Any:
        """Run a command of the app server in a thread, because the stage blocks the loop."""
        return await asyncio.to_thread(partial(self.stage.space.call, do, **fields))


@pytest.fixture
async def client(stage: Stage) -> AsyncIterator[PythonClient]:
    """Not connected yet."""
    async with ClientSession() as session:
        made = PythonClient(stage, session)
        yield made
        await leave(made.inner)


@shows("events", "binary", "client-ack", "socket-ack", "rooms", "disconnect")
async def test_a_conversation(client: PythonClient) -> None:
    stage = client.stage.define()
    sid = await client.connect(token="é")
    await asyncio.to_thread(stage.space.wait, "connection", sid=sid)
    assert (await client.server("handshake", sid=sid))["auth"] == {"token": "é"}

    call = partial(client.inner.call, namespace=stage.ns, timeout=PATIENCE)
    assert await call("echo", ({"deep": [BYTES]}, "é")) == ({"deep": [BYTES]}, "é")
    await client.server("send", sid=sid, args=["down", BYTES, {"deep": BYTES}])
    assert await client.next() == ("down", BYTES, {"deep": BYTES})
    assert await client.server("ask_socket", sid=sid, args=["echo", 1, BYTES], timeout=15_000) == [1, BYTES]
    assert await client.next() == ("echo", 1, BYTES)
    assert (await client.server("ask", args=["echo", 2], timeout=15_000))["answers"] == [2]
    assert await client.next() == ("echo", 2)

    await client.server("join", sid=sid, rooms=["room"])
    await client.server("emit", to=["room"], args=["x", 1])
    assert await client.next() == ("x", 1)
    await client.server("disconnect", sid=sid, close=False)
    assert (await client.next())[0] == "disconnect"
    await asyncio.to_thread(stage.space.wait, "disconnect", sid=sid)


@shows("middleware")
async def test_a_refusal(client: PythonClient) -> None:
    client.stage.define(refuse=[{"auth": {"key": "lost"}, "message": "stay out", "data": [1]}])
    with pytest.raises(ConnectError):
        await client.connect(key="lost")
    await asyncio.to_thread(client.stage.space.until_serves)
