"""The reports of the clients' process."""

from __future__ import annotations

from bench.recovery.crowd import reported


def test_a_report_is_told_apart_by_its_number() -> None:
    line = '{"report":2,"delivered":10,"twice":0}'
    assert reported(line, 2) == {"report": 2, "delivered": 10, "twice": 0}
    assert reported(line, 1) is None
    assert reported('{"ready":true}', 2) is None
