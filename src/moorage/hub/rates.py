"""Token buckets: a bucket fills with the rate, and each event takes one token. A new bucket is full."""

from __future__ import annotations

from typing import NamedTuple


class Rate(NamedTuple):
    """`burst` is the size of a bucket: how many events may come at once after a quiet time."""

    per_second: float
    burst: float


class Bucket:
    """Times are in seconds of a monotonic clock."""

    __slots__ = ("__weakref__", "_at", "_left", "_rate")

    def __init__(self, rate: Rate, now: float) -> None:
        self._rate = rate
        self._left = rate.burst
        self._at = now

    def take(self, now: float) -> bool:
        """True if the event is allowed. An event that is not allowed takes nothing."""
        rate = self._rate
        if now > self._at:
            self._left = min(rate.burst, self._left + (now - self._at) * rate.per_second)
            self._at = now
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True
