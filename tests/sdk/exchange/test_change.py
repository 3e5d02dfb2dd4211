"""A change of rooms on its way: when it counts as made, and when it is taken back."""

from __future__ import annotations

from contextlib import nullcontext

import pytest

from moorage.sdk.clients.members import Member, Members
from moorage.sdk.errors import MoorageError, RequestFailed, RequestTimeout
from moorage.sdk.exchange.change import RoomChange
from moorage.wire.moorage.v1 import List
from tests.sdk.clients.test_members import Client, socket


def entering(members: Members) -> tuple[Member, RoomChange]:
    """A socket that enters `a`."""
    member = socket(members, "one", client=Client(1))
    names = members.enter(member, ["a"])
    undo = lambda: members.leave(member, names)  # noqa: E731
    return member, RoomChange(members, member, names, make=List, undo=undo, lock=nullcontext())


def test_a_move_behind_the_answer_is_newer_than_the_change() -> None:
    members = Members()
    member, change = entering(members)
    change.ended(None)
    members.moved(member, False, ("a",))
    assert members.rooms_of(member) == ["one"]


def test_a_move_before_the_answer_is_older_than_the_change() -> None:
    members = Members()
    member, change = entering(members)
    members.moved(member, False, ("a",))
    assert set(members.rooms_of(member)) == {"one", "a"}
    change.ended(None)
    assert member.unconfirmed == {}


@pytest.mark.parametrize(
    ("error", "rooms"),
    [(RequestFailed(4009, "link-bad-request", "no"), {"one"}), (RequestTimeout("late"), {"one", "a"})],
)
def test_a_refused_change_is_taken_back_and_an_unanswered_one_stays(
    error: MoorageError, rooms: set[str]
) -> None:
    members = Members()
    member, change = entering(members)
    change.ended(error)
    assert (set(members.rooms_of(member)), member.unconfirmed) == (rooms, {})


def test_a_change_that_was_never_sent_is_taken_back_unless_it_has_ended() -> None:
    for end, rooms in ((False, {"one"}), (True, {"one", "a"})):
        members = Members()
        member, change = entering(members)
        if end:
            change.ended(None)
        change.abandon()
        assert set(members.rooms_of(member)) == rooms
