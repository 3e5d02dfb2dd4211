"""A change of rooms on its way: when it counts as made, and when it is taken back."""

from __future__ import annotations

import asyncio

import pytest

from moorage.sdk.change import Change
from moorage.sdk.errors import MoorageError, RequestFailed, RequestTimeout
from moorage.sdk.members import Member, Members
from moorage.wire.moorage.v1 import Done
from tests.sdk.test_members import Client, socket


def entering(members: Members) -> tuple[Member, Change, asyncio.Future[None]]:
    """A socket that enters `a`."""
    member = socket(members, "one", client=Client(1))
    names = members.enter(member, ["a"])
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    change = Change(members, member, names, lambda: members.leave(member, names), done)
    members.begin(member, names)
    return member, change, done


async def test_what_comes_behind_the_answer_is_news() -> None:
    """In the same batch: whoever waits for the answer has not gone on yet."""
    members = Members()
    member, change, done = entering(members)
    change.end(Done(1, 1))
    members.moved(member, False, ("a",))
    assert members.rooms_of(member) == ["one"]
    await done


async def test_nobody_waits_any_more() -> None:
    """It is under way nevertheless, and what crosses it is old news until it is answered."""
    members = Members()
    member, change, done = entering(members)
    done.cancel()
    members.moved(member, False, ("a",))
    assert set(members.rooms_of(member)) == {"one", "a"}
    change.end(Done(1, 1))
    assert member.unconfirmed == {}


@pytest.mark.parametrize(
    ("error", "rooms"),
    [(RequestFailed(4009, "link-bad-request", "no"), {"one"}), (RequestTimeout("late"), {"one", "a"})],
)
async def test_failures(error: MoorageError, rooms: set[str]) -> None:
    """What was refused is taken back; of what was not answered nobody knows."""
    members = Members()
    member, change, done = entering(members)
    change.failed(error)
    with pytest.raises(type(error)):
        await done
    assert (set(members.rooms_of(member)), member.unconfirmed) == (rooms, {})
