"""Events and calls over links that break: no call hangs or runs twice, and memory is bounded."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from moorage.engine.exchange import (
    FIRST_GAP,
    GAP_CALLS,
    GAP_SECONDS,
    REPLAY_ANSWERS,
    REPLAY_SECONDS,
    Calls,
    Event,
    Events,
    Unsent,
)
from tests.support.examples import times


class Link:
    """A link that is compared by identity."""


def event(name: str, link: Link | None, at: float = 0.0) -> Event[str, Link | None]:
    """An event of the channel `c1`."""
    return Event(name, "c1", b"body", link, at)


def test_an_event_is_settled_once() -> None:
    events: Events[str, Link | None] = Events(first_id=100)
    first, second = event("message", None), event("disconnected", None)
    assert (events.add(first), events.add(second)) == (100, 101)
    assert len(events) == 2
    assert events.settle(101) is second
    assert events.settle(101) is None
    assert events.settle(99) is None
    assert len(events) == 1


def test_a_broken_link_strands_its_own_events_in_order() -> None:
    one, other = Link(), Link()
    events: Events[str, Link | None] = Events(1)
    for link in (one, other, None, one, other):
        events.add(event("message", link))
    assert [ack_id for ack_id, _ in events.strand(one)] == [1, 4]
    # They stay open, because their answers may still arrive over another link.
    assert [ack_id for ack_id, _ in events.strand(one)] == [1, 4]
    assert events.settle(1) is not None
    assert [ack_id for ack_id, _ in events.strand(one)] == [4]
    assert events.strand(Link()) == []


def test_overdue_connects() -> None:
    events: Events[str, Link | None] = Events(1)
    for name, at in (("connect", 1.0), ("message", 2.0), ("connect", 3.0), ("connect", 4.0)):
        events.add(event(name, None, at))
    assert [ack_id for ack_id, _ in events.connects_before(4.0)] == [1, 3]
    assert list(events.connects_before(1.0)) == []
    # The caller settles events while it iterates.
    for ack_id, _ in events.connects_before(10.0):
        events.settle(ack_id)
    assert len(events) == 1


def test_a_repeated_call_gets_its_first_answer() -> None:
    calls = Calls()
    assert calls.arrived(1, 0.0) is None
    # The call is repeated while the first one still runs, so there is no answer to repeat.
    assert calls.arrived(1, 0.5) is None
    calls.answered(1, b"202", 1.0)
    assert calls.arrived(1, 2.0) == b"202"
    assert calls.arrived(2, 2.0) is None


def test_answers_are_replayed_while_they_are_fresh() -> None:
    calls = Calls()
    calls.answered(1, b"one", 0.0)
    calls.answered(2, b"two", 6.0)
    assert calls.replay(9.0) == [b"one", b"two"]
    assert calls.replay(REPLAY_SECONDS) == [b"two"]
    assert calls.replay(100.0) == []


def test_a_gap_is_answered_after_its_time() -> None:
    calls = Calls()
    calls.arrived(1, 0.0)
    calls.arrived(4, 1.0)
    assert calls.overdue(1.0 + GAP_SECONDS - 0.01) == []
    calls.arrived(3, 2.0)
    assert calls.overdue(1.0 + GAP_SECONDS) == [2]
    assert calls.overdue(100.0) == []


@pytest.mark.parametrize(("first", "expected"), [(1, 0), (2, 1), (10, 9), (1_000, FIRST_GAP)])
def test_a_new_service_answers_a_few_earlier_calls(first: int, expected: int) -> None:
    calls = Calls()
    calls.arrived(first, 0.0)
    assert calls.overdue(GAP_SECONDS) == list(range(first - expected, first))


def test_a_large_gap_is_bounded() -> None:
    calls = Calls()
    calls.arrived(1, 0.0)
    calls.arrived(2**53, 0.0)
    assert calls.overdue(GAP_SECONDS) == list(range(2**53 - GAP_CALLS, 2**53))


@pytest.mark.parametrize("ack_id", [0, -1, -(2**63)])
def test_numbers_that_the_sdk_never_uses(ack_id: int) -> None:
    calls = Calls()
    assert calls.arrived(ack_id, 0.0) is None
    assert calls.overdue(100.0) == []


class CallsMachine(RuleBasedStateMachine):
    """Compares `Calls` with lists that keep everything."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = Calls()
        self.now = 100.0
        self.arrived: set[int] = set()
        self.answers: list[tuple[int, float, bytes]] = []
        self.gaps: dict[int, float] = {}
        self.failed: set[int] = set()

    @rule(skip=st.integers(0, 70))
    def new_call(self, skip: int) -> None:
        ack_id = max(self.arrived, default=0) + 1 + skip
        low = max(self.arrived) + 1 if self.arrived else max(1, ack_id - FIRST_GAP)
        self.gaps.update(dict.fromkeys(range(low, ack_id), self.now + GAP_SECONDS))
        assert self.calls.arrived(ack_id, self.now) is None
        self.arrived.add(ack_id)

    @precondition(lambda self: self.gaps)
    @rule(data=st.data())
    def late_call(self, data: st.DataObject) -> None:
        ack_id = data.draw(st.sampled_from(sorted(self.gaps)))
        del self.gaps[ack_id]
        assert self.calls.arrived(ack_id, self.now) is None
        self.arrived.add(ack_id)

    @precondition(lambda self: self.arrived - {answer[0] for answer in self.answers})
    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        open_calls = self.arrived - {answer[0] for answer in self.answers}
        ack_id = data.draw(st.sampled_from(sorted(open_calls)))
        frame = b"answer %d" % ack_id
        self.calls.answered(ack_id, frame, self.now)
        self.answers.append((ack_id, self.now, frame))

    @precondition(lambda self: self.answers)
    @rule(data=st.data())
    def call_again(self, data: st.DataObject) -> None:
        ack_id, _, frame = data.draw(st.sampled_from(self.answers))
        assert self.calls.arrived(ack_id, self.now) == frame

    @rule(seconds=st.sampled_from([0.0, 0.5, 1.0, GAP_SECONDS, REPLAY_SECONDS]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def fail_the_overdue(self) -> None:
        due = [ack_id for ack_id, deadline in self.gaps.items() if deadline <= self.now]
        assert sorted(self.calls.overdue(self.now)) == sorted(due)
        for ack_id in due:
            del self.gaps[ack_id]
            assert ack_id not in self.arrived | self.failed
            self.failed.add(ack_id)

    @invariant()
    def the_fresh_answers_are_at_hand(self) -> None:
        fresh = [frame for _, at, frame in self.answers if at > self.now - REPLAY_SECONDS]
        assert self.calls.replay(self.now) == fresh


TestCalls = CallsMachine.TestCase
TestCalls.settings = settings(max_examples=times(0.4), stateful_step_count=30)


def test_memory_is_bounded() -> None:
    calls = Calls()
    for ack_id in range(1, 20 * REPLAY_ANSWERS, 2):
        calls.arrived(ack_id, 0.0)
        calls.answered(ack_id, b"x", 0.0)
    assert len(calls.replay(1.0)) == REPLAY_ANSWERS
    assert len(calls.overdue(100.0)) <= GAP_CALLS


def test_bytes_wait_for_a_link() -> None:
    unsent = Unsent()
    assert not unsent
    unsent.add(b"one")
    unsent.add(b"")
    unsent.add(b"three")
    assert unsent
    assert unsent.size == 8
    assert unsent.take() == [b"one", b"", b"three"]
    assert not unsent
    assert unsent.size == 0
    assert unsent.take() == []
