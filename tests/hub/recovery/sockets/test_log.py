"""The delivery log: order, limits, and what is known to have left."""

from __future__ import annotations

import gc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moorage.hub.recovery.counts import Counts
from moorage.hub.recovery.sockets.log import TRIM_AT_ONCE, DeliveryLog, Entry
from moorage.hub.settings import RecoverySettings
from moorage.wire.commands import EVERYONE

LONG_AGO = -1.0


def make(**limits: int) -> DeliveryLog:
    settings = RecoverySettings(**{f"recovery_{name}": value for name, value in limits.items()})
    log = DeliveryLog("e", settings, Counts())
    log.retention = 100.0
    return log


def put(log: DeliveryLog, *keys: str, time: float = 0.0, size: int = 10, private: bool = False) -> int:
    """Record an event; its position."""
    log.next()
    log.add(Entry(log.position, time, "/", b"x" * size, EVERYONE), keys, private=private)
    return log.position


def positions(log: DeliveryLog, *keys: str, after: int = 0) -> list[int]:
    return [entry.position for entry in log.since(keys, after)]


def test_events_are_found_by_their_lanes_in_order() -> None:
    log = make()
    assert log.offset == b"e.0"
    put(log, "a")
    put(log, "b")
    put(log, "a", "b")
    put(log, "c")
    assert log.offset == b"e.4"
    assert positions(log, "a") == [1, 3]
    assert positions(log, "b", "a") == [1, 2, 3]
    assert positions(log, "b", "a", after=2) == [3]
    assert positions(log, "nobody") == []
    assert (log.events, log.bytes) == (4, 40)
    assert log.stamp(b'42["a"]') == b'42["a","e.4"]'


def test_a_lane_drops_its_oldest_events() -> None:
    log = make(room_events=2, session_events=1)
    for _ in range(4):
        put(log, "a", "b")
    put(log, "b")
    put(log, "p", private=True)
    put(log, "p", private=True)
    assert positions(log, "a") == [3, 4]
    assert positions(log, "b") == [4, 5]
    assert positions(log, "p") == [7]
    assert log.is_missing("a", 1, LONG_AGO)
    assert not log.is_missing("a", 2, LONG_AGO)
    assert log.is_missing("b", 2, LONG_AGO)
    assert log.is_missing("p", 5, LONG_AGO)
    assert not log.is_missing("nobody", 0, LONG_AGO)
    # What the client has certainly received is not missing.
    assert not log.is_missing("a", 1, 0.1)
    assert log._counts.dropped == 3
    assert log.events == 4


@pytest.mark.parametrize("size", [1024, 5_000])
def test_an_event_larger_than_a_limit_leaves_at_once(size: int) -> None:
    log = make(room_bytes=1024)
    put(log, "a", size=1000)
    assert put(log, "a", size=size) == 2
    assert positions(log, "a") == ([2] if size == 1024 else [])
    assert log.is_missing("a", 0, LONG_AGO)
    assert log.bytes == (size if size == 1024 else 0)


def test_the_hub_drops_its_oldest_events() -> None:
    log = make(hub_events=3, room_events=2)
    put(log, "a")
    for _ in range(4):
        put(log, "b")
    put(log, "c", "a")
    # The first of `b` had left already; of the others the oldest is that of `a`.
    assert positions(log, "a", "b", "c") == [4, 5, 6]
    assert log.is_missing("a", 0, LONG_AGO)
    assert not log.is_missing("a", 1, LONG_AGO)
    assert log._counts.dropped == 3
    put(log, "d")
    assert positions(log, "a", "b", "c", "d") == [5, 6, 7]


def test_the_garbage_collector_does_not_look_at_events() -> None:
    """A million of them would stop the process for 100 ms."""
    log = make()
    log.next()
    entry = Entry(log.position, 0.0, "/", b"x", EVERYONE, source="s", number=1)
    log.add(entry, ("a",))
    assert not gc.is_tracked(entry)


def test_the_identities_of_the_emits_after_a_position() -> None:
    log = make()
    for source in ("app", "node", "", "app"):
        log.next()
        entry = Entry(log.position, 0.0, "/", b"x", EVERYONE, source=source, number=log.position)
        log.add(entry, ("a",))
    assert log.identities(0) == {("app", 1), ("node", 2), ("app", 4)}
    assert log.identities(2) == {("app", 4)}
    assert log.identities(4) == set()


def test_events_that_have_left_are_swept_out_behind_old_ones_that_stay() -> None:
    log = make(room_events=1_500, hub_events=4_000)
    for _ in range(1_400):
        put(log, "stays")
    for _ in range(10_000):
        put(log, "busy")
        assert len(log._all) + len(log._swept) < 8_000
    assert positions(log, "stays") == list(range(1, 1_401))
    assert positions(log, "busy") == list(range(9_901, 11_401))
    for number in range(2_700):
        put(log, f"other {number}", "busy")
    assert log.events == 4_000
    assert positions(log, "stays") == list(range(101, 1_401))
    assert positions(log, "busy") == list(range(12_601, 14_101))


def test_very_many_events_for_one_room_are_bounded() -> None:
    log = make(room_events=100)
    for _ in range(100_000):
        put(log, "a")
    assert log.events == 100
    assert len(log._all) + len(log._swept) < 3_000
    assert positions(log, "a") == list(range(99_901, 100_001))
    put(log, "b")
    assert positions(log, "a", "b", after=100_000) == [100_001]


def test_old_events_and_lanes_are_forgotten() -> None:
    log = make(room_events=2)
    put(log, "a", time=0)
    put(log, "b", time=50)
    log.trim(101)
    assert positions(log, "a", "b") == [2]
    assert (log.events, log._counts.dropped) == (1, 0)
    assert log.is_missing("a", 0, LONG_AGO)
    assert len(log) == 2
    log.trim(151)
    log.trim(202)
    assert len(log) == 1, "lane `a` has been empty for long"
    log.trim(300)
    assert len(log) == 0
    # It is known that something had been there.
    assert log.is_missing("a", 0, LONG_AGO)
    assert not log.is_missing("a", 2, LONG_AGO)
    assert not log.is_missing("a", 0, 51)


def test_a_lane_that_is_used_again_is_kept() -> None:
    log = make(hub_events=1)
    put(log, "a", time=0)
    put(log, "b", time=10)
    put(log, "a", time=50)
    log.trim(105)
    assert positions(log, "a") == [3]
    # `b` was emptied by the limit; its floor is from the time 10.
    assert len(log) == 2
    log.trim(111)
    log.trim(160)
    log.trim(300)
    assert len(log) == 0


def test_a_lane_whose_last_event_left_early_is_kept_as_long_as_that_event() -> None:
    log = make(room_bytes=1024)
    put(log, "a", time=0, size=2000)
    put(log, "a", time=90, size=2000)
    log.trim(101)
    assert len(log) == 1
    log.trim(202)
    assert len(log) == 0


Step = tuple[tuple[str, ...], int, int]
STEPS = st.lists(
    st.tuples(
        st.lists(st.sampled_from("abc"), min_size=1, max_size=3, unique=True).map(tuple),
        st.integers(0, 20),
        st.integers(1, 400),
    ),
    max_size=60,
)


@settings(max_examples=200)
@given(STEPS, st.integers(1, 6), st.integers(1, 10))
def test_nothing_leaves_unnoticed(steps: list[Step], room_events: int, hub_events: int) -> None:
    """Each event is in its lanes, or below their floors; and the sums are right."""
    log = make(room_events=room_events, hub_events=hub_events, room_bytes=1024, hub_bytes=1024 * 1024)
    now, sent = 0.0, dict[str, list[tuple[int, float]]]()
    for keys, pause, size in steps:
        now += pause
        position = put(log, *keys, time=now, size=size)
        log.trim(now)
        for key in keys:
            sent.setdefault(key, []).append((position, now))
        kept = {entry.position: entry.size for key in sent for entry in log.since((key,), 0)}
        assert (log.events, log.bytes) == (len(kept), sum(kept.values()))
        assert log.events <= hub_events
        for key, all_sent in sent.items():
            here = positions(log, key)
            assert len(here) <= room_events
            for number, when in all_sent:
                assert number in here or log.is_missing(key, number - 1, when - 1)


def test_a_tick_forgets_a_bounded_number_of_events_and_none_of_the_others_is_found_any_more() -> None:
    log = make()
    for _ in range(2 * TRIM_AT_ONCE + 2):
        put(log, "a")
    log.trim(101)
    assert log.events == TRIM_AT_ONCE + 2
    assert positions(log, "a") == []
    log.trim(101)
    assert log.events == 2
    last = put(log, "a", time=101)
    assert (log.events, positions(log, "a")) == (1, [last])


def test_a_tick_forgets_a_bounded_number_of_lanes() -> None:
    log = make()
    for number in range(TRIM_AT_ONCE + 1):
        put(log, str(number))
    log.trim(101)
    log.trim(101)
    log.trim(202)
    assert len(log) == 1
    log.trim(203)
    assert len(log) == 0
