"""A histogram that costs little to add to."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence


class Histogram:
    """Fixed buckets with inclusive upper bounds, cumulated only when read."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Add one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def buckets(self) -> list[tuple[str, float]]:
        """Prometheus' buckets: (upper bound, number of values up to that bound)."""
        seen = 0
        rows: list[tuple[str, float]] = []
        for bound, found in zip((*map(float, self.bounds), "+Inf"), self.counts, strict=True):
            seen += found
            rows.append((str(bound), seen))
        return rows
