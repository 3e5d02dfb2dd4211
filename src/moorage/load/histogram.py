"""A histogram of durations with a bounded relative error, after the idea of HdrHistogram.

Values below 256 ns have buckets of their own. Above that, each power of two has 128 buckets of equal width,
so a bucket's width is at most 1/128 of its values, and a quantile is at most 0.8 % too high. Recording is
one addition to a list; the histograms of two processes add up without loss.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

LARGEST: Final = (1 << 42) - 1
"""Longest duration in nanoseconds, over an hour. Longer ones are recorded as this one."""

_BITS: Final = 7
_SIZE: Final = (42 - _BITS + 1) << _BITS


class Histogram:
    """Counts of durations in nanoseconds."""

    __slots__ = ("_buckets",)

    def __init__(self, buckets: Mapping[int, int] | None = None) -> None:
        self._buckets = [0] * _SIZE
        if buckets:
            self.add(buckets)

    def record(self, value: int) -> None:
        """Count one duration. A negative one counts as 0."""
        shift = value.bit_length() - _BITS - 1
        if shift <= 0:
            self._buckets[value if value > 0 else 0] += 1
        elif value <= LARGEST:
            self._buckets[(shift << _BITS) + (value >> shift)] += 1
        else:
            self._buckets[-1] += 1

    def buckets(self) -> dict[int, int]:
        """The buckets that are not empty: index -> count. `add` and the constructor take them."""
        return {index: count for index, count in enumerate(self._buckets) if count}

    def add(self, buckets: Mapping[int, int]) -> None:
        """Add the buckets of another histogram."""
        for index, count in buckets.items():
            self._buckets[index] += count

    def clear(self) -> None:
        """Forget everything."""
        self._buckets = [0] * _SIZE

    def __len__(self) -> int:
        return sum(self._buckets)

    def quantile(self, share: float) -> int:
        """The smallest recorded value, rounded up to its bucket's end, that at least this share of all
        values does not exceed; 0 if there are none."""
        return next(self.quantiles((share,)))

    def quantiles(self, shares: Iterable[float]) -> Iterator[int]:
        """The quantiles of ascending `shares`, in one pass."""
        total = len(self)
        filled = [(index, count) for index, count in enumerate(self._buckets) if count]
        seen, at = 0, 0
        for share in shares:
            # The small term keeps 0.99 of 100 values from becoming the 100th.
            wanted = max(1, -int(-(share * total - 1e-9) // 1))
            while at < len(filled) and seen + filled[at][1] < wanted:
                seen += filled[at][1]
                at += 1
            yield highest(filled[at][0]) if at < len(filled) else 0

    def mean(self) -> float:
        """The mean of the buckets' middles; 0 if the histogram is empty."""
        total = len(self)
        return (
            sum(_middle(index) * count for index, count in self.buckets().items()) / total if total else 0.0
        )

    def smallest(self) -> int:
        """The lower end of the first bucket that is not empty; 0 if there is none."""
        return next((lowest(index) for index, count in enumerate(self._buckets) if count), 0)


def lowest(index: int) -> int:
    """The smallest value of a bucket."""
    shift = max(0, (index >> _BITS) - 1)
    return (index - (shift << _BITS)) << shift


def highest(index: int) -> int:
    """The largest value of a bucket."""
    shift = max(0, (index >> _BITS) - 1)
    return lowest(index) + (1 << shift) - 1


def _middle(index: int) -> float:
    return (lowest(index) + highest(index)) / 2
