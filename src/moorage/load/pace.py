"""Sends at a steady rate, at times that do not depend on how fast the server is.

Each event has an intended time, and its latency counts from there. So a server that stalls for a second is
charged for all events of that second, although they are sent late (this avoids "coordinated omission").
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import sys
from collections.abc import Callable
from typing import Final

CLOCK_MONOTONIC: Final = 1
SHORTEST: Final = 100_000
"""Nanoseconds between two wake-ups at least. Events that are due within this time are sent together."""


class Alarm:
    """Wakes the event loop at a time in nanoseconds. Linux has a timer for that, with a descriptor; the
    timers of an event loop have a resolution of a millisecond."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._loop = asyncio.get_running_loop()
        self._later: asyncio.TimerHandle | None = None
        self._fd = _timer()
        if self._fd >= 0:
            self._loop.add_reader(self._fd, self._fired)

    def set(self, after: int) -> None:
        """Call `wake` in `after` nanoseconds."""
        after = max(1, after)
        if self._fd >= 0:
            # The interval is zero: it fires once.
            times = (ctypes.c_long * 4)(0, 0, after // 1_000_000_000, after % 1_000_000_000)
            _library().timerfd_settime(self._fd, 0, times, None)
        else:
            self._later = self._loop.call_later(after / 1e9, self._wake)

    def close(self) -> None:
        """Never wake again."""
        if self._later is not None:
            self._later.cancel()
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1

    def _fired(self) -> None:
        try:
            os.read(self._fd, 8)
        except BlockingIOError:
            return
        self._wake()


class Pace:
    """Calls `act` with the intended time of each event, `rate` times a second from `since` until `until`."""

    def __init__(
        self, rate: float, since: int, until: int, act: Callable[[int], None], clock: Callable[[], int]
    ) -> None:
        self._gap: Final = 1e9 / rate
        self._since = since
        self._until = until
        self._act = act
        self._clock = clock
        self._done = 0
        self._finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._alarm = Alarm(self._due)

    async def run(self) -> None:
        """Until the last event has been sent."""
        self._due()
        try:
            await self._finished
        finally:
            self._alarm.close()

    def _due(self) -> None:
        now = self._clock()
        at = self._at()
        while at <= now and at < self._until:
            self._act(at)
            self._done += 1
            at = self._at()
        if at >= self._until:
            if not self._finished.done():
                self._finished.set_result(None)
        else:
            self._alarm.set(max(SHORTEST, at - self._clock()))

    def _at(self) -> int:
        return self._since + int(self._done * self._gap)


def _library() -> ctypes.CDLL:
    global _libc  # noqa: PLW0603 - loaded once, where there is one
    if _libc is None:
        _libc = ctypes.CDLL(None)
    return _libc


_libc: ctypes.CDLL | None = None


def _timer() -> int:
    """The descriptor of a new timer, or -1 where the system has none."""
    if not sys.platform.startswith("linux"):
        return -1
    try:
        return int(_library().timerfd_create(CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC))
    except (OSError, AttributeError):
        return -1
