"""A reader of a service's live trace."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from types import TracebackType
from typing import Any, NamedTuple

import aiohttp

from tests.support.service import MoorageProcess

READ_KEY = "read-key-of-the-tests"
OPERATE_KEY = "operate-key-of-the-tests"
FLAGS = (
    f"--set=admin.read_key={READ_KEY}",
    f"--set=admin.operate_key={OPERATE_KEY}",
    "--set=admin.trace_payloads=true",
)
"""Flags of a service whose traces can be read."""
SECONDS = 60.0


class Event(NamedTuple):
    """One server-sent event."""

    name: str
    data: dict[str, Any]

    @property
    def short(self) -> tuple[Any, ...]:
        """Of a packet: direction, type and name. Of a state: the state, and the reason or the namespace."""
        if self.name == "packet":
            return self.data["direction"], self.data["type"], self.data["event"]
        found = (self.data.get("state"), self.data.get("reason") or self.data.get("namespace"))
        return tuple(part for part in found if part)


class TraceStream:
    """Use as an async context manager. The trace has begun inside. `events` collects what it shows."""

    def __init__(self, service: MoorageProcess, key: str = READ_KEY, **query: object) -> None:
        self.events: list[Event] = []
        self.status = 0
        self.refusal: dict[str, Any] = {}
        self._url = f"{service.url}/api/v1/trace"
        self._query = {name: str(value) for name, value in query.items()}
        self._headers = {"Authorization": f"Bearer {key}"}
        self._http = aiohttp.ClientSession()
        self._changed = asyncio.Condition()

    async def __aenter__(self) -> TraceStream:
        self._answer = await self._http.get(self._url, params=self._query, headers=self._headers)
        self.status = self._answer.status
        if self.status != 200:
            self.refusal = await self._answer.json()
        self._reader = asyncio.create_task(self._read())
        if self.status == 200:
            await self.until(lambda events: any(event.name == "watching" for event in events))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._reader.cancel()
        self._answer.close()
        await self._http.close()

    async def _read(self) -> None:
        name, data = "", ""
        async for line in self._answer.content:
            field, _, value = line.decode().rstrip("\n").partition(": ")
            if field == "event":
                name = value
            elif field == "data":
                data = value
            elif not field and data:
                async with self._changed:
                    self.events.append(Event(name, json.loads(data)))
                    self._changed.notify_all()
                name, data = "", ""

    async def until(self, holds: Callable[[list[Event]], bool]) -> list[Event]:
        """All events, once they are as wanted."""
        try:
            async with asyncio.timeout(SECONDS), self._changed:
                await self._changed.wait_for(lambda: holds(self.events))
        except TimeoutError:
            raise AssertionError(self.events) from None
        return self.events

    async def named(self, event: str) -> Event:
        """The first packet with an event of this name."""
        found = await self.until(lambda events: any(each.data.get("event") == event for each in events))
        return next(each for each in found if each.data.get("event") == event)

    async def ended(self) -> Event:
        """The last event, once the service has ended the stream."""
        async with asyncio.timeout(SECONDS):
            await self._reader
        return self.events[-1]

    @property
    def short(self) -> list[tuple[Any, ...]]:
        """The packets and states in short."""
        return [event.short for event in self.events if event.name in ("packet", "state")]
