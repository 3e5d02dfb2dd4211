"""The book-keeping of own sockets: rooms, both ways of the index, and changes that cross on the way."""

from __future__ import annotations

import pytest

from moorage.sdk.clients.members import Member, Members, Parting, room_names
from moorage.sdk.errors import UsageError


class Client:
    """A client with a number."""

    def __init__(self, number: int) -> None:
        self.sid = f"client{number}"
        self.number = number
        self.link_session = "session1"
        self.gone = False
        self.may_return = False
        self.parting = Parting.NO
        self.environ: dict[str, object] = {}
        self.members: dict[str, Member] = {}
        self.session: dict[str, object] = {}


@pytest.fixture
def members() -> Members:
    return Members()


def socket(members: Members, name: str, namespace: str = "/", client: Client | None = None) -> Member:
    """A new socket."""
    member = Member(name, namespace, client or Client(1), None)
    members.add(member)
    return member


def test_a_socket_is_in_its_own_room(members: Members) -> None:
    one = socket(members, "one")
    assert members.rooms_of(one) == ["one"]
    assert dict(members.inside("/", "one")) == {"one": "client1"}
    assert members.is_private("/", "one")
    assert not members.is_private("/other", "one")


def test_both_ways(members: Members) -> None:
    one, two = socket(members, "one"), socket(members, "two", client=Client(2))
    assert members.enter(one, ["a", "b"]) == ("a", "b")
    members.enter(two, ["b"])
    assert set(members.rooms_of(one)) == {"one", "a", "b"}
    assert dict(members.inside("/", ["a", "b"])) == {"one": "client1", "two": "client2"}
    assert dict(members.inside("/", None)) == {"one": "client1", "two": "client2"}
    members.leave(one, ["a", "never"])
    assert set(members.rooms_of(one)) == {"one", "b"}
    assert "a" not in members.rooms["/"]


def test_removing_leaves_nothing_behind(members: Members) -> None:
    client = Client(1)
    one = socket(members, "one", client=client)
    members.enter(one, ["a", 7])
    one.expect(print)
    members.remove(one)
    members.remove(one)
    assert (members.rooms, members.by_id, client.members, one.waiting) == ({}, {}, {}, {})
    assert members._given == {}


def test_namespaces_are_apart(members: Members) -> None:
    client = Client(1)
    one, other = socket(members, "one", client=client), socket(members, "two", "/admin", client)
    members.enter(one, ["a"])
    assert dict(members.inside("/admin", "a")) == {}
    assert members.get("one", "/") is one
    assert members.get("one", "/admin") is None
    assert client.members == {"/": one, "/admin": other}
    members.remove(one)
    assert dict(members.inside("/admin", None)) == {"two": "client1"}


def test_rooms_that_are_numbers(members: Members) -> None:
    one = socket(members, "one")
    assert members.enter(one, [42]) == ("42",)
    assert set(members.rooms_of(one)) == {"one", 42}, "as it was given"
    assert dict(members.inside("/", 42)) == {"one": "client1"}
    assert members.leave(one, [42]) == ("42",)
    assert members.rooms_of(one) == ["one"]


def test_room_names() -> None:
    assert room_names(None) == ()
    assert room_names("a") == ("a",)
    assert room_names(["a", 1, "a", None]) == ("a", "1")
    for wrong in (b"a", True, 1.5, object(), ["a", b"b"], ("a", ("b",))):
        with pytest.raises(UsageError, match="must be a str or an int"):
            room_names(wrong)


def test_others_move_it(members: Members) -> None:
    one = socket(members, "one")
    members.moved(one, True, ("a", "b"))
    members.moved(one, False, ("b", "never"))
    assert set(members.rooms_of(one)) == {"one", "a"}


def test_a_move_that_crosses_an_own_change(members: Members) -> None:
    """We leave `a`; before the service hears that, somebody joins us to it. It hears ours last."""
    one = socket(members, "one")
    members.enter(one, ["a"])
    members.leave(one, ["a"])
    members.begin(one, ["a"])
    members.moved(one, True, ("a", "b"))
    members.confirm(one, ["a"])
    assert set(members.rooms_of(one)) == {"one", "b"}
    members.moved(one, True, ("a",))
    assert set(members.rooms_of(one)) == {"one", "a", "b"}, "after ours, theirs is news"


def test_two_changes_of_one_room_under_way(members: Members) -> None:
    one = socket(members, "one")
    members.begin(one, ["a"])
    members.begin(one, ["a"])
    members.confirm(one, ["a"])
    members.moved(one, True, ("a",))
    assert members.rooms_of(one) == ["one"]
    members.confirm(one, ["a"])
    assert one.unconfirmed == {}


def test_a_change_of_one_that_is_gone(members: Members) -> None:
    one = socket(members, "one")
    members.remove(one)
    assert members.enter(one, ["a"]) == ("a",)
    assert (members.rooms, members.by_id) == ({}, {})


def test_callbacks(members: Members) -> None:
    one = socket(members, "one")
    assert (one.expect(print), one.expect(repr)) == (1, 2)
    assert one.answered(2) is repr
    assert one.answered(2) is None, "once"
    assert one.answered(None) is None
    assert one.waiting == {1: print}
