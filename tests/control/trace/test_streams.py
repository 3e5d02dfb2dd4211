"""All streams of a node."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from moorage.control.admin.access.callers import Caller
from moorage.control.admin.access.keys import Role
from moorage.control.admin.operations import Call
from moorage.control.trace.query import TraceQuery
from moorage.control.trace.streams import MAX_STREAMS, Streams
from moorage.wire.errors import PeerError
from moorage.wire.trace.messages import Traced
from moorage.wire.trace.scope import Scope

SCOPE = {"type": "http", "method": "GET", "asgi": {"spec_version": "2.3"}}


class Traces:
    """`control.trace.streams.Traces`."""

    def __init__(self) -> None:
        self.takers: dict[str, Callable[[Traced], object]] = {}
        self.scopes: list[Scope] = []

    def open(self, scope: Scope, take: Callable[[Traced], object]) -> str:
        self.scopes.append(scope)
        self.takers[str(len(self.scopes))] = take
        return str(len(self.scopes))

    def close(self, watch_id: str) -> None:
        del self.takers[watch_id]


class Place:
    """The streams of a node, and what was noted of them."""

    def __init__(self, *, payloads: bool = True) -> None:
        self.traces = Traces()
        self.notes: list[tuple[Any, ...]] = []
        self.streams = Streams(self.traces, payloads=payloads, clock=lambda: 0.0)
        self.operation = self.streams.operation(lambda *note: self.notes.append(note))

    async def open(self, role: Role = Role.OPERATE, **query: Any) -> Any:
        """The response to a request."""
        caller = Caller(role, "1.2.3.4")
        return await self.operation.handle(Call("trace", caller, TraceQuery(**query), None, ""))


class Client:
    """An HTTP client of one response."""

    def __init__(self, response: Any) -> None:
        self.sent: list[bytes] = []
        self.gone = asyncio.Event()
        self.task = asyncio.create_task(response(SCOPE, self._receive, self._send))

    async def _receive(self) -> dict[str, Any]:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        self.sent.append(message.get("body", b""))


async def test_a_stream_from_begin_to_end() -> None:
    place = Place()
    client = Client(await place.open(user="ada"))
    assert place.traces.scopes == [Scope(user="ada")]
    assert len(place.streams) == 1
    place.traces.takers["1"](Traced("1", "n", (), 0, 1, False))
    while not any(b"watching" in each for each in client.sent):
        await asyncio.sleep(0)
    client.gone.set()
    await client.task
    assert not place.traces.takers
    assert len(place.streams) == 0
    assert place.notes == []


async def test_payloads() -> None:
    place = Place()
    response = await place.open(user="ada", payload=True)
    ((caller, operation, target, outcome),) = place.notes
    assert (caller.role, operation, outcome) == (Role.OPERATE, "trace", "done")
    assert target == {"user": "ada", "namespace": "/", "payload": True}
    assert response.headers["content-type"].startswith("text/event-stream")
    with pytest.raises(PeerError, match="admin-role"):
        await place.open(Role.READ, user="ada", payload=True)
    assert place.notes[1][1:] == ("trace", target, "admin-role")
    off = Place(payloads=False)
    with pytest.raises(PeerError, match="admin-payloads-off"):
        await off.open(user="ada", payload=True)
    assert [outcome for *_, outcome in off.notes] == ["admin-payloads-off"]


async def test_too_many() -> None:
    place = Place()
    clients = [Client(await place.open(user="ada")) for _ in range(MAX_STREAMS)]
    with pytest.raises(PeerError, match="admin-too-many-traces"):
        await place.open(user="ada")
    await asyncio.sleep(0)
    clients[0].gone.set()
    await clients[0].task
    clients.append(Client(await place.open(user="ada")))
    place.streams.keys_changed()
    for client in clients[1:]:
        await client.task
        assert b"admin-keys-changed" in client.sent[-2]
    assert not place.traces.takers


async def test_a_drain() -> None:
    place = Place()
    client = Client(await place.open(user="ada"))
    place.streams.stop()
    await client.task
    assert b"draining" in client.sent[-2]
    with pytest.raises(PeerError, match="draining"):
        await place.open(user="ada")
