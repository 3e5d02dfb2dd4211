"""Token buckets: a bucket fills with the rate, and each event takes one token. A new bucket is full."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Hashable
from typing import Final, NamedTuple

MAX_BUCKETS: Final = 65_536
"""Most buckets of `Buckets`. The one that was not used for longest is dropped first; most likely it is
full."""

_RATE: Final = re.compile(r"(\d{1,9})\s*/\s*(s|m|h)(?:\s+burst\s+(\d{1,9}))?")
_SECONDS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0}


class Rate(NamedTuple):
    """`burst` is the size of a bucket: how many events may come at once after a quiet time."""

    per_second: float
    burst: float


def read_rate(text: str) -> Rate | None:
    """`10/s`, `300/m`, `10/s burst 50`; None for "", which means no limit. Without `burst` it is the number
    before the slash. Raises `ValueError`."""
    if not text:
        return None
    found = _RATE.fullmatch(text)
    if found is None or int(found[1]) < 1 or (found[3] and int(found[3]) < 1):
        raise ValueError("not a rate")
    return Rate(int(found[1]) / _SECONDS[found[2]], float(found[3] or found[1]))


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


class Buckets:
    """A bucket for each key that was seen lately, in bounded memory."""

    def __init__(self, limit: int = MAX_BUCKETS) -> None:
        self._limit = limit
        self._buckets: OrderedDict[Hashable, tuple[Rate, Bucket]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, key: Hashable, rate: Rate, now: float) -> bool:
        """True if an event of `key` is allowed. If its rate has changed, the bucket begins anew."""
        known = self._buckets.get(key)
        if known is None or known[0] != rate:
            known = self._buckets[key] = (rate, Bucket(rate, now))
            if len(self._buckets) > self._limit:
                self._buckets.popitem(last=False)
        self._buckets.move_to_end(key)
        return known[1].take(now)
