"""Pauses between attempts to reach the service."""

from __future__ import annotations

import secrets
from typing import Final

RETRY_FIRST: Final = 0.1
RETRY_MAX: Final = 5.0
RETRY_IN_GRACE: Final = 0.5
"""Longest pause, in seconds, while the service keeps the session. With longer ones, a network that works
again in time would be noticed too late."""
_MAX_ATTEMPTS: Final = 30

_RANDOM: Final = secrets.SystemRandom()
"""Source of randomness. Processes that were forked or seeded alike must not pause for the same time."""


class Backoff:
    """Growing pauses with a random part, because all app servers of a service that restarts try to reach it
    at once."""

    def __init__(self) -> None:
        self.attempts = 0
        """Attempts since the link was last up for a while."""

    def pause(self, *, in_grace: bool = False) -> float:
        """Seconds until the next attempt. `in_grace`: the service still keeps the session."""
        most = min(RETRY_IN_GRACE if in_grace else RETRY_MAX, RETRY_FIRST * 2.0**self.attempts)
        self.attempts = min(self.attempts + 1, _MAX_ATTEMPTS)
        return most * _RANDOM.uniform(0.3, 1.0)

    def broke(self, up_seconds: float) -> None:
        """A link broke that had been up for `up_seconds`. One that breaks at once again and again is not
        tried ever faster."""
        if up_seconds >= RETRY_IN_GRACE:
            self.attempts = 0
