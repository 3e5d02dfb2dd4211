"""Rates: the texts of settings, and a token bucket for each of many keys."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Hashable
from typing import Final

from moorage.hub.rates import Bucket, Rate

MAX_BUCKETS: Final = 65_536
"""Maximum number of buckets in `Buckets`. The least recently used one is dropped first; most likely it is
full."""

_RATE: Final = re.compile(r"(\d{1,9})\s*/\s*(s|m|h)(?:\s+burst\s+(\d{1,9}))?")
_SECONDS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0}


def read_rate(text: str) -> Rate | None:
    """`10/s`, `300/m`, `10/s burst 50`; None for "", which means no limit. Without `burst` it is the number
    before the slash. Raises `ValueError`."""
    if not text:
        return None
    found = _RATE.fullmatch(text)
    if found is None or int(found[1]) < 1 or (found[3] and int(found[3]) < 1):
        raise ValueError("not a rate")
    return Rate(int(found[1]) / _SECONDS[found[2]], float(found[3] or found[1]))


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
