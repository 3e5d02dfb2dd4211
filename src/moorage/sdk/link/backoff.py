"""Pauses between attempts to reach the service."""

from __future__ import annotations

import secrets
from typing import Final

RETRY_FIRST: Final = 0.1
RETRY_MAX: Final = 5.0
_MAX_ATTEMPTS: Final = 30

_RANDOM: Final = secrets.SystemRandom()
"""Pauses of processes that were forked, or seeded alike, must differ."""


class Backoff:
    """The pauses grow, and are spread: a service that comes back is met by all its app servers at once."""

    def __init__(self) -> None:
        self.attempts = 0
        """Attempts since the link was last up for a while."""

    def pause(self) -> float:
        """Seconds until the next attempt."""
        most = min(RETRY_MAX, RETRY_FIRST * 2.0**self.attempts)
        self.attempts = min(self.attempts + 1, _MAX_ATTEMPTS)
        return most * _RANDOM.uniform(0.3, 1.0)

    def broke(self, up_seconds: float) -> None:
        """A link broke that was up for so long."""
        if up_seconds > RETRY_MAX:
            self.attempts = 0
