"""Limits the number of answers to `Fetch` that one session has in progress.

The sockets of other nodes are kept in memory until the app server has taken them, and one with 5,000 rooms
needs 0.4 MB. So a session has few such answers at once; its other requests wait, and its other frames do not
wait for them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from moorage.hub.turns import Intake, Job, Turns

AT_ONCE: Final = 16
"""Number of answers that are gathered or taken at the same time."""
MAX_WAITING: Final = 256
"""Number of requests that may wait. If there are more, the session's later frames wait, too."""

Start = Callable[[], Job[None] | None]


class Fetches:
    """The requests of one session, in order. `over` must be called once for each call of a `start`. `proceed`
    makes the session's waiting frames go on."""

    def __init__(self, turns: Turns, proceed: Callable[[], object]) -> None:
        self._waiting = Intake(turns)
        self._proceed = proceed
        self._running = 0

    def take(self, start: Start) -> Job[None] | None:
        """Start a request now or later. Neither `start` nor its job raises. Returns a job for the session's
        own frames: the start, or the wait for a place behind too many requests."""
        if not self._waiting.busy and self._running < AT_ONCE:
            self._running += 1
            return start()
        if len(self._waiting) < MAX_WAITING:
            self._waiting.add(self._in_turn(start))
            return None
        return self._when_free(start)

    def over(self) -> None:
        """The app server has taken the sockets of an answer, or the request was refused."""
        self._running -= 1
        self._waiting.wake()
        self._proceed()

    def end(self) -> None:
        """The session is over."""
        self._waiting.clear()

    def _in_turn(self, start: Start) -> Job[None]:
        while self._running >= AT_ONCE:
            yield True
        self._running += 1
        yield from start() or ()

    def _when_free(self, start: Start) -> Job[None]:
        while len(self._waiting) >= MAX_WAITING:
            yield True
        yield from self.take(start) or ()
