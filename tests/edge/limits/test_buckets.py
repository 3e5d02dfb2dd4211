"""Forms of a rate, and buckets by key, in bounded memory."""

from __future__ import annotations

import pytest

from moorage.edge.limits.buckets import Buckets, read_rate
from moorage.hub.rates import Rate


def test_forms_of_a_rate() -> None:
    assert read_rate("") is None
    assert read_rate("10/s") == Rate(10.0, 10.0)
    assert read_rate("300 / m") == Rate(5.0, 300.0)
    assert read_rate("3600/h burst 7") == Rate(1.0, 7.0)
    for text in ("10", "0/s", "-1/s", "1/d", "1.5/s", "10/s burst 0", "10/s burst", "x/s", "9999999999/s"):
        with pytest.raises(ValueError, match="not a rate"):
            read_rate(text)


def test_keys_have_buckets_of_their_own_and_the_oldest_are_dropped() -> None:
    buckets, rate = Buckets(limit=3), Rate(1.0, 1.0)
    assert all(buckets.take(key, rate, 0.0) for key in "abc")
    assert not any(buckets.take(key, rate, 0.0) for key in "abc")
    assert buckets.take("d", rate, 0.0)
    assert len(buckets) == 3
    # `a` is the one that was used before all others.
    assert not buckets.take("b", rate, 0.0)
    assert buckets.take("a", rate, 0.0)


def test_a_new_rate_begins_a_new_bucket() -> None:
    buckets = Buckets()
    assert buckets.take("a", Rate(1.0, 1.0), 0.0)
    assert buckets.take("a", Rate(1.0, 2.0), 0.0)
    assert len(buckets) == 1
