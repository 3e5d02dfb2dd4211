"""Rooms and selections against a naive model: a list of members."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from moorage.hub.hub import AppServer, Connection
from moorage.hub.rooms import Directory, Rooms, in_any
from moorage.hub.settings import Limits
from moorage.wire.commands import EVERYONE, Selection
from moorage.wire.filters.compiled import compile_filter
from moorage.wire.groups import namespace_group
from tests.hub.fakes import LEAST, RecordingLink, World
from tests.support.examples import times
from tests.support.filters import matches

GROUPS = ["a", "b", "c", "0~Lw~", "0~Lw~x", "0~Lw~y", "0~L24~x"]
USERS = [None, "ada", "bob"]
COUNT = 6


def people(directory: Directory[Connection], users: list[str | None]) -> list[Connection]:
    """Connections that belong to no node, in `directory`."""
    world = World()
    hub = world.node.ensure_hub("h")
    server = AppServer("s", RecordingLink(), "test", LEAST)
    found = [
        Connection(
            f"c{number}",
            hub,
            user_id=user,
            server=server,
            limits=Limits(),
            flusher=world.node.flusher,
            now=0.0,
        )
        for number, user in enumerate(users)
    ]
    for connection in found:
        directory.add(connection)
    return found


class RoomsMachine(RuleBasedStateMachine):
    """Compares joins and leaves of all kinds with sets of pairs."""

    def __init__(self) -> None:
        super().__init__()
        self.directory: Directory[Connection] = Directory()
        self.rooms: Rooms[Connection] = self.directory.rooms
        self.all = people(self.directory, [USERS[n % 3] for n in range(COUNT)])
        self.model: set[tuple[str, str]] = set()
        self.gone: set[str] = set()

    @rule(who=st.integers(0, COUNT - 1), group=st.sampled_from(GROUPS))
    def join(self, who: int, group: str) -> None:
        connection = self.all[who]
        if connection.id not in self.gone:
            self.rooms.join(connection, group)
            self.model.add((connection.id, group))

    @rule(who=st.integers(0, COUNT - 1), group=st.sampled_from(GROUPS))
    def leave(self, who: int, group: str) -> None:
        self.rooms.leave(self.all[who], group)
        self.model.discard((self.all[who].id, group))

    @rule(who=st.integers(0, COUNT - 1), prefix=st.sampled_from(["0~Lw~", "0~L24~", "0~no~"]))
    def leave_prefix(self, who: int, prefix: str) -> None:
        self.rooms.leave_prefix(self.all[who], prefix)
        mine = self.all[who].id
        self.model -= {pair for pair in self.model if pair[0] == mine and pair[1].startswith(prefix)}

    @rule(who=st.integers(0, COUNT - 1))
    def leave_all(self, who: int) -> None:
        self.rooms.leave_all(self.all[who])
        self.model = {pair for pair in self.model if pair[0] != self.all[who].id}

    @rule(who=st.integers(0, COUNT - 1))
    def end(self, who: int) -> None:
        connection = self.all[who]
        assert self.directory.remove(connection) == (connection.id not in self.gone)
        self.gone.add(connection.id)
        self.model = {pair for pair in self.model if pair[0] != connection.id}

    @rule(who=st.integers(0, COUNT - 1))
    def come_again(self, who: int) -> None:
        self.directory.add(self.all[who])
        self.gone.discard(self.all[who].id)

    @invariant()
    def both_indexes_agree_with_the_model(self) -> None:
        for group in GROUPS:
            expected = {member for member, name in self.model if name == group}
            assert {connection.id for connection in self.rooms.members(group)} == expected
        for connection in self.all:
            assert connection.groups == {name for member, name in self.model if member == connection.id}
        # A group exists while it has a member.
        assert len(self.rooms) == len({name for _, name in self.model})

    @invariant()
    def everyone_is_who_is_here(self) -> None:
        here = {connection.id for connection in self.all} - self.gone
        assert {connection.id for connection in self.directory.select(EVERYONE)} == here
        for user in ("ada", "bob"):
            found = self.directory.select(Selection(user=user))
            assert {c.id for c in found} == {c.id for c in self.all if c.user_id == user and c.id in here}


TestRooms = RoomsMachine.TestCase
TestRooms.settings = settings(max_examples=times(0.6), stateful_step_count=30)


@dataclass
class Crowd:
    """Six connections in some groups."""

    memberships: list[set[str]]
    directory: Directory[Connection] = field(default_factory=Directory)

    def __post_init__(self) -> None:
        self.all = people(self.directory, [USERS[n % 3] for n in range(len(self.memberships))])
        for connection, groups in zip(self.all, self.memberships, strict=True):
            for group in groups:
                self.directory.rooms.join(connection, group)


CROWDS = st.lists(st.sets(st.sampled_from(["a", "b", "c"])), min_size=COUNT, max_size=COUNT).map(Crowd)
FILTERS = st.none() | st.sampled_from(
    [
        "'a' in groups",
        "'a' in groups or 'b' in groups",
        "('a' in groups or 'b' in groups) and not ('c' in groups)",
        "not ('a' in groups)",
        "not ('a' in groups) and not ('b' in groups)",
        "connectionId eq 'c2'",
        "connectionId eq 'c2' and 'a' in groups",
        "connectionId eq 'nobody'",
        "userId eq 'ada'",
        "userId eq 'ada' and 'a' in groups",
        "userId eq null or not ('b' in groups)",
        "'zzz' in groups",
        "true",
        "false",
    ]
)


@settings(max_examples=times(3))
@given(
    crowd=CROWDS,
    connection=st.none() | st.sampled_from(["c0", "c1", "c2", "nobody"]),
    group=st.none() | st.sampled_from(["a", "b", "zzz"]),
    user=st.none() | st.sampled_from(["ada", "bob", "nobody"]),
    text=FILTERS,
    excluded=st.lists(st.sampled_from(["c0", "c1", "c2", "nobody"]), max_size=2).map(tuple),
)
def test_all_given_conditions_must_hold(
    crowd: Crowd,
    connection: str | None,
    group: str | None,
    user: str | None,
    text: str | None,
    excluded: tuple[str, ...],
) -> None:
    condition = None if text is None else compile_filter(text)
    selection = Selection(connection=connection, group=group, user=user, filter=condition, excluded=excluded)
    expected = [
        c.id
        for c in crowd.all
        if (connection is None or c.id == connection)
        and (group is None or group in c.groups)
        and (user is None or c.user_id == user)
        and (condition is None or matches(condition, c))
        and c.id not in excluded
    ]
    # A list, because no connection may be selected twice, even if it is in several of the groups.
    assert sorted(c.id for c in crowd.directory.select(selection)) == expected


def test_a_single_group_is_answered_from_the_index_itself() -> None:
    crowd = Crowd([{"a"}, {"a", "b"}, set()])
    members = crowd.directory.rooms.members("a")
    assert crowd.directory.select(Selection(group="a")) is members
    assert crowd.directory.select(Selection(filter=compile_filter("'a' in groups"))) is members


def test_groups_that_do_not_exist_are_empty_and_stay_so() -> None:
    rooms: Rooms[Connection] = Rooms()
    assert not rooms.members("a")
    assert len(rooms) == 0


@pytest.mark.parametrize(
    ("groups", "expected"), [((), False), (("a",), True), (("x", "a"), True), (("x",), False)]
)
def test_connection_in_any_of_several_groups(groups: tuple[str, ...], expected: bool) -> None:
    (connection,) = Crowd([{"a", "b"}]).all
    assert in_any(connection, groups) == expected


@pytest.mark.parametrize(
    ("to", "expected"),
    [
        (Selection(connection="c1", group="a"), "1"),
        (Selection(connection="c3", group="a"), ""),
        (Selection(group="a", filter=compile_filter("connectionId eq 'c2'")), "2"),
        (Selection(group="a", filter=compile_filter("'b' in groups or 'c' in groups")), "2"),
        (Selection(group="a", filter=compile_filter("not ('nowhere' in groups)")), "012"),
        (Selection(group="a", filter=compile_filter("length(connectionId) eq 3")), ""),
    ],
)
def test_further_conditions_narrow_a_selection(to: Selection, expected: str) -> None:
    crowd = Crowd([{"a"}, {"a"}, {"a", "b"}, {"b"}])
    found = crowd.directory.select(to)
    assert sorted(crowd.all.index(connection) for connection in found) == [int(n) for n in expected]


def test_a_connection_is_removed_once() -> None:
    crowd = Crowd([{"a"}])
    assert [crowd.directory.remove(crowd.all[0]) for _ in range(2)] == [True, False]


def test_selection_by_app_server() -> None:
    world = World()
    for name in ("one", "two"):
        world.server(name)
    clients = [world.client("/") for _ in range(4)]
    directory = world.hub().directory
    for server in ("one", "two"):
        mine = {client for client in clients if client.server.id == server}
        assert len(mine) == 2
        assert set(directory.select(Selection(server=server))) == mine
        assert set(directory.select(Selection(server=server, group=namespace_group("/")))) == mine
        one = Selection(server=server, connection=clients[0].id)
        assert set(directory.select(one)) == mine & {clients[0]}
    assert list(directory.select(Selection(server="nobody"))) == []


def test_a_users_other_connections_stay() -> None:
    directory: Directory[Connection] = Directory()
    one, two = people(directory, ["ada", "ada"])
    directory.remove(one)
    assert set(directory.of_user("ada")) == {two}
    directory.remove(two)
    assert set(directory.of_user("ada")) == set()
