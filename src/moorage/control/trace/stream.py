"""One stream. Events that its reader does not read in time are dropped and counted: a trace never waits, and
never keeps more than a bound."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Final

from moorage.control.trace import events
from moorage.wire.errors import PeerError
from moorage.wire.reasons import ADMIN_SESSION_OVER
from moorage.wire.trace.messages import Traced

MAX_BYTES: Final = 256 * 1024
"""Maximum bytes that wait for a reader, besides those that are in the transport."""
KEEP_ALIVE_SECONDS: Final = 15.0


class Stream:
    """`clock` gives epoch seconds. The stream ends at `expires`, if that is not None."""

    def __init__(self, clock: Callable[[], float], expires: float | None) -> None:
        self._clock = clock
        self._expires = expires
        self._waiting: list[bytes] = []
        self._size = 0
        self._dropped = 0
        self._end: PeerError | None = None
        self._changed = asyncio.Event()
        self._followed: dict[str, tuple[int, bool]] = {}
        """The last message about each node: the number of connections, and whether more match."""

    def take(self, traced: Traced) -> None:
        """What one node has seen."""
        followed = (traced.connections, traced.limited)
        if self._followed.get(traced.node) != followed:
            self._followed[traced.node] = followed
            self._add(events.watching(traced))
        for seen in traced.events:
            if self._size < MAX_BYTES:
                self._add(events.seen(traced.node, seen))
            else:
                self._dropped += 1
        self._dropped += traced.dropped
        self._changed.set()

    def _add(self, event: bytes) -> None:
        self._waiting.append(event)
        self._size += len(event)

    def end(self, error: PeerError) -> None:
        """The last event says why."""
        self._end = self._end or error
        self._changed.set()

    async def chunks(self) -> AsyncIterator[bytes]:
        """The bytes of the stream, until its end."""
        yield events.KEEP_ALIVE
        while True:
            await self._wait()
            chunk = self._take_all()
            if self._end is not None:
                yield chunk + events.ended(self._end)
                return
            yield chunk or events.KEEP_ALIVE

    async def _wait(self) -> None:
        """Wait until there is something to send: events, the end, or nothing for a long time."""
        now = self._clock()
        seconds = KEEP_ALIVE_SECONDS
        if self._expires is not None:
            seconds = min(seconds, max(0.0, self._expires - now))
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            if self._expires is not None and self._clock() >= self._expires:
                self.end(PeerError(ADMIN_SESSION_OVER))
        self._changed.clear()

    def _take_all(self) -> bytes:
        if self._dropped:
            self._waiting.append(events.dropped(self._dropped))
            self._dropped = 0
        chunk = b"".join(self._waiting)
        self._waiting.clear()
        self._size = 0
        return chunk
