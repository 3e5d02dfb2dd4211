"""A walk in parts finds each entry that is there all the time exactly once, whatever comes and goes."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from moorage.hub.inspect.buckets import COUNT, Buckets, position

KEYS = st.text(min_size=1, max_size=4)


def walk(buckets: Buckets[int], size: int) -> list[str]:
    found: list[str] = []
    after = ""
    while batch := buckets.batch(after, size):
        after = batch[-1][0]
        found += [key for key, _ in batch]
    return found


@given(st.sets(KEYS, max_size=200), st.integers(1, 50))
def test_a_walk_is_in_order_and_complete(keys: set[str], size: int) -> None:
    buckets: Buckets[int] = Buckets()
    for key in keys:
        buckets.add(key, 1)
    assert len(buckets) == len(keys)
    assert walk(buckets, size) == sorted(keys, key=position)


@given(st.sets(KEYS, min_size=1, max_size=100), st.sets(KEYS, max_size=50), st.randoms(use_true_random=False))
def test_a_walk_while_entries_come_and_go(stay: set[str], change: set[str], chance: random.Random) -> None:
    buckets: Buckets[int] = Buckets()
    for key in stay:
        buckets.add(key, 1)
    found: list[str] = []
    after = ""
    while batch := buckets.batch(after, 5):
        found.append(batch[0][0])
        after = batch[0][0]
        for key in change - stay:
            if chance.random() < 0.5:
                buckets.add(key, 2)
            else:
                buckets.remove(key)
    assert len(found) == len(set(found))
    assert stay <= set(found)


def test_entries_are_replaced_and_removed() -> None:
    buckets: Buckets[int] = Buckets()
    buckets.add("a", 1)
    buckets.add("a", 2)
    assert (len(buckets), buckets.batch("", 10)) == (1, [("a", 2)])
    buckets.remove("b")
    buckets.remove("a")
    buckets.remove("a")
    assert (len(buckets), buckets.batch("", 10)) == (0, [])


def test_a_batch_ends_with_the_bucket_that_fills_it() -> None:
    buckets: Buckets[int] = Buckets()
    for number in range(10 * COUNT):
        buckets.add(str(number), number)
    assert 5 <= len(buckets.batch("", 5)) < 100
    buckets.remove("7")
    assert len(buckets) == 10 * COUNT - 1
    assert "7" not in walk(buckets, 100)
