"""How many lines a stranger may cause. Time is a number."""

from __future__ import annotations

import pytest

from moorage.logs_quota import REPORT_SECONDS, Quota

pytestmark = pytest.mark.repair(5)


def test_a_burst_and_then_a_rate() -> None:
    quota = Quota(rate=2, burst=5)
    assert sum(quota.allows(1000.0) for _ in range(50)) == 5
    assert sum(quota.allows(1000.0 + step / 100) for step in range(1, 1001)) == 20
    assert quota.suppressed == 1050 - 25
    assert sum(quota.allows(2000.0) for _ in range(50)) == 5, "quiet time counts up to the burst"


def test_what_was_suppressed_is_reported_now_and_then() -> None:
    quota = Quota(rate=1, burst=1)
    assert quota.report(10.0) == 0
    for _ in range(4):
        quota.allows(10.0)
    assert quota.report(10.0) == 3
    quota.allows(10.0)
    assert quota.report(10.0) == quota.report(9.9 + REPORT_SECONDS) == 0
    assert quota.report(10.0 + REPORT_SECONDS) == 1
    assert quota.report(10.0 + 2 * REPORT_SECONDS) == 0
