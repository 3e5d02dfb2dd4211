"""One app server of a scripted service, with handlers in tasks or in threads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import socketio

from moorage.sdk import use_moorage, use_moorage_sync
from moorage.wire.moorage import v1
from tests.sdk.service_peer import TIMEOUT, ServicePeer
from tests.sdk.threads.world import Record


class Executor:
    """Either Python SDK."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.threads = name == "threads"

    def server(self, **options: Any) -> Any:
        """A `socketio` server."""
        if self.threads:
            return socketio.Server(async_mode="threading", **options)
        return socketio.AsyncServer(async_mode="asgi", **options)

    async def link(self, sio: Any, connection_string: str, **options: Any) -> Any:
        """Hand the server over."""
        given = {"hub": "app", "connection_string": connection_string, **options}
        if self.threads:
            return await asyncio.to_thread(lambda: use_moorage_sync(sio, **given))
        return await use_moorage(sio, **given)

    async def call(self, function: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """Call something that waits."""
        if self.threads:
            return await asyncio.to_thread(function, *args, **options)
        result = function(*args, **options)
        return await result if asyncio.iscoroutine(result) else result


class Case:
    """`sio` is linked to `peer`. Client 1 has the socket `sid` in `/`."""

    sid = ""

    def __init__(self, executor: Executor, peer: ServicePeer, sio: Any) -> None:
        self.executor = executor
        self.peer = peer
        self.sio = sio
        self.heard = Record()
        self.moorage: Any = None

    async def start(self, **options: Any) -> Case:
        """Link, and connect the client."""
        self.moorage = await self.executor.link(self.sio, self.peer.connection_string, **options)
        await self.open(1)
        self.sid = await self.connect(1)
        return self

    async def open(self, number: int, handshake: bytes = b"{}") -> v1.Opened:
        """A new client, which the app server takes."""
        await self.peer.send(v1.Open(number, f"client{number}", "ada", handshake))
        return await self.peer.frame(v1.Opened)

    async def connect(self, number: int, namespace: str = "", auth: str = "") -> str:
        """The client connects to a namespace; its socket id."""
        await self.say(number, f"40{namespace and namespace + ','}{auth}".encode())
        answer = await self.packet()
        return answer.decode().split('"sid":"')[1].split('"')[0]

    async def say(self, number: int, payload: bytes) -> None:
        """A packet of a client."""
        await self.peer.send(v1.Packet(number, payload))

    async def packet(self, number: int = 1) -> bytes:
        """The next frame, which must be a packet for the client."""
        frame = await self.peer.frame(v1.Packet)
        assert frame.client == number
        return frame.payload

    async def call(self, function: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """Call something that waits."""
        async with asyncio.timeout(TIMEOUT):
            return await self.executor.call(function, *args, **options)

    def begin(self, function: Callable[..., Any], *args: Any, **options: Any) -> asyncio.Task[Any]:
        """Call something that waits for a frame which the test sends."""
        return asyncio.create_task(self.call(function, *args, **options))

    async def next(self, count: int = 1) -> list[Any]:
        """What handlers and listeners have noted, once there are `count` notes; they are taken."""
        notes = list(await self.heard.wait(count))
        self.heard.notes.clear()
        return notes

    async def lose_session(self) -> None:
        """The service restarts, and the SDK begins a new session."""
        restored = Record()
        self.moorage.on("link_restored", lambda: restored("restored"))
        self.peer.forget()
        self.peer.cut()
        await restored.wait(1)
