"""A timer of the event loop that can be set again."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from typing import Final

TIMER_SECONDS: Final = 0.001
"""uvloop's timers have a resolution of one millisecond."""


class Alarm:
    """A timer that can be reset: calls `ring` at the time set last, never earlier."""

    def __init__(self, ring: Callable[[], object]) -> None:
        self._loop = asyncio.get_running_loop()
        self._ring = ring
        self._timer: asyncio.TimerHandle | None = None
        self._when = 0.0

    def set(self, when: float) -> None:
        """Ring at `when`, a `time.monotonic` time."""
        self.cancel()
        self._when = when
        steps = max(1, math.ceil((when - time.monotonic()) / TIMER_SECONDS))
        self._timer = self._loop.call_later(steps * TIMER_SECONDS, self._due)

    def _due(self) -> None:
        if time.monotonic() < self._when:
            self.set(self._when)
        else:
            self._ring()

    def cancel(self) -> None:
        """Cancel the timer."""
        if self._timer is not None:
            self._timer.cancel()
