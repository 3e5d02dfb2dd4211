"""Numbered messages: new, late, repeated."""

from __future__ import annotations

from moorage.load.sequence import Arrival, Sequence


def test_arrivals() -> None:
    sequence = Sequence()
    arrivals = [sequence.take(number) for number in (0, 1, 4, 2, 2, 1, 5, 3)]
    new, late, repeated = Arrival.NEW, Arrival.LATE, Arrival.REPEATED
    assert arrivals == [new, new, new, late, repeated, repeated, new, late]
