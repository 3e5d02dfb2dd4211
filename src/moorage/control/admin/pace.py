"""Spreads operators' requests over time. A request costs several hundred microseconds, and a hundred callers
could send theirs in the same turn of the event loop, where clients would wait for all of them."""

from __future__ import annotations

import asyncio
from typing import Final

from moorage.wire.errors import PeerError
from moorage.wire.reasons import ADMIN_BUSY

GAP: Final = 0.003
"""Minimum seconds between two requests. So many requests take about a quarter of a core."""
MAX_WAITING: Final = 300
"""Maximum number of waiting requests: those of about a second."""


class Pace:
    """Lets requests begin one after another."""

    def __init__(self) -> None:
        self._next = 0.0
        """When the next request may begin, on the loop's clock."""
        self._waiting = 0

    async def turn(self) -> None:
        """Wait until it is this request's turn: not at all if none has begun just now. Raises `PeerError`
        (admin-busy)."""
        now = asyncio.get_running_loop().time()
        begin = max(now, self._next)
        if begin > now and self._waiting >= MAX_WAITING:
            raise PeerError(ADMIN_BUSY, f"at most {MAX_WAITING} requests wait")
        self._next = begin + GAP
        if begin > now:
            self._waiting += 1
            try:
                await asyncio.sleep(begin - now)
            finally:
                self._waiting -= 1
