"""Token buckets: a rate holds over any time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from moorage.hub.rates import Bucket, Rate


def test_a_burst_and_then_the_rate() -> None:
    bucket = Bucket(Rate(2.0, 3.0), 100.0)
    assert [bucket.take(100.0) for _ in range(5)] == [True, True, True, False, False]
    assert [bucket.take(100.5), bucket.take(100.5)] == [True, False]
    assert [bucket.take(1000.0) for _ in range(4)] == [True, True, True, False]
    assert not bucket.take(10.0), "the clock does not run backwards"


@given(st.floats(0.1, 100), st.integers(1, 50), st.lists(st.floats(0, 1), min_size=1, max_size=200))
def test_never_more_than_burst_and_rate(per_second: float, burst: int, pauses: list[float]) -> None:
    now, taken = 0.0, 0
    bucket = Bucket(Rate(per_second, burst), now)
    for pause in pauses:
        now += pause
        taken += bucket.take(now)
    assert taken <= burst + now * per_second + 1e-6
