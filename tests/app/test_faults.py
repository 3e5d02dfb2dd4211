"""Faults that the service survives: counted each time, logged once."""

from __future__ import annotations

from collections import Counter

import pytest

from moorage.app.faults import MAX_LOGGED, Faults


def fault(number: int = 0) -> Exception:
    try:
        if number:
            raise ValueError(number)
        raise RuntimeError(number)
    except (RuntimeError, ValueError) as error:
        return error


def test_each_fault_is_counted_and_each_kind_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    counts: Counter[str] = Counter()
    faults = Faults(counts)
    for _ in range(3):
        for number in (0, 1, 2):
            faults("links", fault(number))
        faults("node", fault())
    assert counts == {"links": 9, "node": 3}
    assert len(caplog.records) == 3
    assert all(record.exc_info for record in caplog.records)


def test_the_number_of_logged_kinds_is_bounded(caplog: pytest.LogCaptureFixture) -> None:
    faults = Faults(Counter())
    for number in range(MAX_LOGGED + 10):
        faults(f"part {number}", fault())
    assert len(caplog.records) == MAX_LOGGED
