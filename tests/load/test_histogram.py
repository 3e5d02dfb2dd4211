"""The histogram: its error is bounded, and parts add up to the whole."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moorage.load.histogram import LARGEST, Histogram, highest, lowest

values = st.integers(0, LARGEST)


def exact(sample: list[int], share: float) -> int:
    return sorted(sample)[max(1, math.ceil(share * len(sample) - 1e-9)) - 1]


def filled(sample: list[int]) -> Histogram:
    made = Histogram()
    for value in sample:
        made.record(value)
    return made


@given(st.lists(values, min_size=1), st.sampled_from([0.0, 0.5, 0.9, 0.99, 1.0]))
def test_a_quantile_is_at_most_a_bucket_too_high(sample: list[int], share: float) -> None:
    found, true = filled(sample).quantile(share), exact(sample, share)
    assert true <= found <= true * (1 + 1 / 128) + 1


@given(values)
def test_buckets_hold_their_values(value: int) -> None:
    ((index, count),) = filled([value]).buckets().items()
    assert count == 1
    assert lowest(index) <= value <= highest(index)


@given(st.lists(values), st.lists(values))
def test_two_parts_make_the_whole(one: list[int], two: list[int]) -> None:
    added = filled(one)
    added.add(filled(two).buckets())
    assert added.buckets() == filled(one + two).buckets()
    assert len(added) == len(one) + len(two)


def test_neighbouring_buckets_touch() -> None:
    for index in range(4000):
        assert highest(index) + 1 == lowest(index + 1)


def test_values_out_of_range_count_at_the_ends() -> None:
    made = filled([-5, LARGEST + 1, 1 << 60])
    assert made.smallest() == 0
    assert len(made) == 3
    assert made.quantile(1.0) == highest(max(made.buckets()))


def test_quantiles_in_one_pass_and_the_mean() -> None:
    made = Histogram(filled(list(range(1, 101))).buckets())
    assert list(made.quantiles((0.5, 0.99, 1.0))) == [50, 99, 100]
    assert made.mean() == pytest.approx(50.5)
    assert made.smallest() == 1
    made.clear()
    assert (len(made), made.quantile(0.5), made.mean(), made.smallest()) == (0, 0, 0.0, 0)
