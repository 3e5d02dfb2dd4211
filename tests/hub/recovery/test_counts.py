"""Counters for the metrics."""

from __future__ import annotations

from moorage.hub.recovery.counts import Counts


def test_everything_begins_at_zero() -> None:
    counts = Counts()
    assert (counts.parked, counts.resumed, counts.replayed, counts.dropped) == (0, 0, 0, 0)
    assert not counts.refused
