"""Which forwarded commands a node carries out, and when a session may begin."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from moorage.cluster.coverage.homes import MAX_ABSENT, Instances, instance_of
from moorage.wire.cluster.messages import Envelope
from moorage.wire.commands import EVERYONE, Send


class Covering:
    """A session that covers this node."""

    def __init__(self, term: int) -> None:
        self.term = term
        self.told: list[str] = []

    def marked(self, term: int) -> None:
        self.told.append(f"marked {term}")

    def settled(self, call: Callable[[], object]) -> None:
        call()

    def uncovered(self) -> None:
        self.told.append("uncovered")


def forwarded(number: int, term: int = 1, instance: str = "i") -> Envelope:
    return Envelope("n1", Send("hub", EVERYONE, b"42"), 0, instance, term, number)


def test_a_command_is_carried_out_once() -> None:
    instances = Instances()
    assert [instances.is_new(forwarded(number)) for number in (1, 2, 2, 1, 5, 4)] == [
        True,
        True,
        False,
        False,
        True,
        False,
    ]


def test_commands_without_a_number_are_all_carried_out() -> None:
    instances = Instances()
    assert [instances.is_new(forwarded(0)) for _ in range(2)] == [True, True]


def test_a_former_home_is_not_heard_any_more() -> None:
    instances = Instances()
    assert instances.is_new(forwarded(1, term=3))
    assert not instances.is_new(forwarded(2, term=2))
    assert instances.is_new(forwarded(2, term=3))


def test_a_mark_of_a_new_home_ends_what_the_former_one_has_under_way() -> None:
    instances = Instances()
    assert instances.is_new(forwarded(1, term=2))
    instances.get("i").mark(3)
    assert not instances.is_new(forwarded(2, term=2))
    assert instances.is_new(forwarded(2, term=3))


def test_the_only_session_is_not_overtaken_by_what_the_first_one_has_forwarded() -> None:
    instances = Instances()
    assert instances.is_new(forwarded(1, term=0))
    instances.get("i").begin(Covering(1), fence=False)
    assert not instances.is_new(forwarded(2, term=0))


def test_instances_are_apart() -> None:
    instances = Instances()
    assert instances.is_new(forwarded(9, instance="a"))
    assert instances.is_new(forwarded(1, instance="b"))


def test_a_session_without_a_fence_begins_at_once_and_gets_everything_itself() -> None:
    instances, session = Instances(), Covering(1)
    assert instances.get("i").begin(session, fence=False)
    assert not instances.is_new(forwarded(1))
    instances.get("i").end(session)
    assert instances.is_new(forwarded(1))


def test_what_a_session_carried_out_is_not_carried_out_again_when_it_is_forwarded() -> None:
    instances, session = Instances(), Covering(1)
    instances.get("i").begin(session, fence=False)
    instances.get("i").number = 7
    instances.get("i").end(session)
    assert not instances.is_new(forwarded(7))
    assert instances.is_new(forwarded(8))


def test_a_session_with_a_fence_waits_for_its_mark() -> None:
    instances, session = Instances(), Covering(5)
    known = instances.get("i")
    assert not known.begin(session, fence=True)
    assert instances.is_new(forwarded(1, term=4)), "the home still forwards"
    known.mark(4)
    assert session.told == [], "the mark of an earlier term"
    known.mark(5)
    assert session.told == ["marked 5"]
    assert not instances.is_new(forwarded(2, term=5))


def test_a_mark_may_come_before_the_session() -> None:
    instances = Instances()
    instances.get("i").mark(5)
    assert instances.get("i").begin(Covering(5), fence=True)
    assert not instances.get("j").begin(Covering(5), fence=True)


@pytest.mark.parametrize("fence", [True, False])
def test_uncovering_ends_the_session_that_began_before(fence: bool) -> None:
    instances, session = Instances(), Covering(2)
    known = instances.get("i")
    known.begin(session, fence=fence)
    known.uncover(2)
    assert session.told == []
    known.uncover(3)
    assert session.told == ["uncovered"]


def test_a_command_of_a_later_term_ends_a_session_that_its_app_server_has_given_up() -> None:
    instances, session = Instances(), Covering(2)
    instances.get("i").begin(session, fence=False)
    assert not instances.is_new(forwarded(1, term=1))
    assert not instances.is_new(forwarded(1, term=2))
    assert session.told == []
    assert instances.is_new(forwarded(1, term=3))
    assert session.told == ["uncovered"]


def test_it_also_ends_a_session_that_waits_for_a_mark() -> None:
    instances = Instances()
    session = Covering(2)
    assert not instances.get("i").begin(session, fence=True)
    assert instances.is_new(forwarded(1, term=1))
    assert session.told == []
    assert instances.is_new(forwarded(2, term=3))
    assert session.told == ["uncovered"]


def test_what_a_former_home_has_under_way_to_a_node_without_a_session_is_too_late() -> None:
    instances = Instances()
    instances.get("i").uncover(2)
    assert not instances.is_new(forwarded(1, term=1))


def test_a_session_that_has_ended_does_not_end_its_successor() -> None:
    instances, old, new = Instances(), Covering(1), Covering(2)
    known = instances.get("i")
    known.begin(old, fence=False)
    known.begin(new, fence=False)
    known.end(old)
    assert known.session is new


def test_instances_without_a_session_are_forgotten_when_there_are_too_many() -> None:
    instances, session = Instances(), Covering(1)
    instances.get("here").begin(session, fence=False)
    for number in range(MAX_ABSENT + 1):
        instances.is_new(forwarded(1, instance=f"i{number}"))
    assert instances.get("here").session is session
    assert instances.is_new(forwarded(1, instance="i0")), "the oldest was forgotten"
    assert not instances.is_new(forwarded(1, instance=f"i{MAX_ABSENT}"))


def test_how_far_the_instances_of_a_hub_are() -> None:
    instances = Instances()
    assert instances.find("app/i") is None
    for instance in (instance_of("App", "i"), instance_of("app", "j"), instance_of("other", "i")):
        assert instances.is_new(forwarded(3, instance=instance))
    instances.get("app/idle")
    assert instances.executed("APP") == {"app/i": 3, "app/j": 3}
    found = instances.find("app/i")
    assert found is not None
    assert found.number == 3
