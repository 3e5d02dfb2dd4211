"""Group membership of one hub, indexed both ways, and the connections of a selection. group -> connections
serves emits, connection -> groups (kept on the connection) makes a disconnect cost only the member's own
groups."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import Generic, Never, Protocol, TypeVar

from moorage.hub.ports import Interest
from moorage.hub.turns import STEP
from moorage.wire.commands import Found, Selection
from moorage.wire.errors import PeerError
from moorage.wire.filters.compiled import Filter
from moorage.wire.filters.evaluate import Subject
from moorage.wire.reasons import TOO_MANY_GROUPS


class Named(Protocol):
    """Has an id."""

    id: str


class Member(Subject, Protocol):
    """A connection, as rooms and selections see it."""

    groups: set[str]
    listed: Found | None

    @property
    def server(self) -> Named:
        """Its app server."""


MemberT = TypeVar("MemberT", bound=Member)

_NOBODY: frozenset[Never] = frozenset()


class Rooms(Generic[MemberT]):
    """All groups of a hub, and the only place that changes membership. A group exists while it has a
    member."""

    def __init__(self, hub: str = "", news: Interest | None = None) -> None:
        self._hub = hub
        self._members: dict[str, set[MemberT]] = {}
        self._kinds: dict[str, Callable[[Iterable[MemberT]], set[MemberT]]] = {}
        """What makes the sets of watched groups."""
        self.news = news

    def __len__(self) -> int:
        return len(self._members)

    def members(self, group: str) -> Collection[MemberT]:
        """The members of `group`; empty for a group that does not exist."""
        return self._members.get(group, _NOBODY)

    def join(self, connection: MemberT, group: str, *, private: bool = False) -> None:
        """Add the connection to the group. A second join changes no membership. `private`: the group is the
        room of one socket, which is no news for other nodes."""
        if group not in connection.groups:
            connection.groups.add(group)
            connection.listed = None
            members = self._members.get(group)
            if members is None:
                if group in self._kinds:
                    self._members[group] = members = self._kinds[group](())
                    members.add(connection)
                else:
                    self._members[group] = {connection}
                if self.news is not None and not private:
                    self.news.first(self._hub, group)
            else:
                members.add(connection)
        elif private and self.news is not None:
            # The app server has joined it before the socket was connected, so it was announced as a room.
            self.news.last(self._hub, group)

    def leave(self, connection: MemberT, group: str) -> None:
        """Remove the connection from the group, if it is a member."""
        if group in connection.groups:
            connection.groups.discard(group)
            connection.listed = None
            self._remove(connection, group)

    def hand_over(self, to: Rooms[MemberT]) -> None:
        """All groups belong to `to` from now on."""
        to._members = self._members
        to._kinds = self._kinds

    def watch(self, group: str, kind: Callable[[Iterable[MemberT]], set[MemberT]]) -> None:
        """Keep the members of this group in a set that `kind` makes, also if it is made again later."""
        self._kinds[group] = kind
        if group in self._members:
            self._members[group] = kind(self._members[group])

    def unwatch(self, group: str) -> None:
        """Keep the members of this group in an ordinary set again."""
        del self._kinds[group]
        if group in self._members:
            self._members[group] = set(self._members[group])

    def leave_prefix(self, connection: MemberT, prefix: str) -> None:
        """Leave every group whose name begins with `prefix`: the end of a namespace."""
        for group in [g for g in connection.groups if g.startswith(prefix)]:
            self.leave(connection, group)

    def leave_all(self, connection: MemberT) -> None:
        """Leave everything: the end of a connection."""
        for group in connection.groups:
            self._remove(connection, group)
        connection.groups.clear()
        connection.listed = None

    def _remove(self, connection: MemberT, group: str) -> None:
        members = self._members[group]
        members.discard(connection)
        if not members:
            del self._members[group]
            if self.news is not None:
                self.news.last(self._hub, group)


class Directory(Generic[MemberT]):
    """The indexes of a selection: connections by id, by user and by group."""

    def __init__(self, hub: str = "", news: Interest | None = None) -> None:
        self.connections: dict[str, MemberT] = {}
        self.rooms: Rooms[MemberT] = Rooms(hub, news)
        self._users: dict[str, set[MemberT]] = {}

    def add(self, connection: MemberT) -> None:
        """Add an accepted connection."""
        self.connections[connection.id] = connection
        self._add_user(connection)

    def remove(self, connection: MemberT) -> bool:
        """Remove a connection. Returns False if it is unknown."""
        if self.connections.pop(connection.id, None) is None:
            return False
        self.rooms.leave_all(connection)
        self._remove_user(connection)
        return True

    def _add_user(self, connection: MemberT) -> None:
        if connection.user_id is not None:
            self._users.setdefault(connection.user_id, set()).add(connection)

    def _remove_user(self, connection: MemberT) -> None:
        user = connection.user_id
        if user is not None and (mine := self._users.get(user)) is not None:
            mine.discard(connection)
            if not mine:
                del self._users[user]

    def of_user(self, user: str) -> Collection[MemberT]:
        """The connections of a user."""
        return self._users.get(user, _NOBODY)

    def work(self, to: Selection) -> int:
        """An estimate of the units of work (`hub.turns`) of `select`."""
        condition = to.filter
        if to.connection is not None:
            return 1
        if to.group is not None:
            found = len(self.rooms.members(to.group))
        elif to.user is not None:
            found = len(self.of_user(to.user))
        elif condition is None or condition.connection_id is not None:
            found = len(self.connections) if condition is None else 1
        elif condition.any_of is not None:
            found = self._union_work(condition.any_of)
        else:
            found = len(self.connections)
        if condition is None:
            return found
        if condition.none_of:
            found += self._union_work(condition.none_of)
        return found * weight(condition)

    def _union_work(self, groups: tuple[str, ...]) -> int:
        if len(groups) == 1:
            return len(self.rooms.members(groups[0]))
        if len(groups) > STEP:
            return len(groups)
        return len(groups) + sum([len(self.rooms.members(group)) for group in groups])

    def select(self, to: Selection) -> Collection[MemberT]:
        """Each selected connection once. The collection may be a live index: do not join or leave
        while iterating over it (`Node` copies where it must)."""
        if to.connection is not None:
            one = self.connections.get(to.connection)
            found: Collection[MemberT] = () if one is None else (one,)
            if to.group is not None:
                found = [c for c in found if to.group in c.groups]
        elif to.group is not None:
            found = self.rooms.members(to.group)
        elif to.user is not None:
            found = self.of_user(to.user)
        else:
            found = self._candidates(to.filter)
            return self.refine(found, to, candidates_hold=True)
        if to.user is not None and (to.connection is not None or to.group is not None):
            found = [c for c in found if c.user_id == to.user]
        return self.refine(found, to, candidates_hold=False)

    def _candidates(self, condition: Filter | None) -> Collection[MemberT]:
        if condition is None:
            return self.connections.values()
        if condition.connection_id is not None:
            one = self.connections.get(condition.connection_id)
            found = () if one is None else (one,)
            return [c for c in found if condition.any_of is None or in_any(c, condition.any_of)]
        if condition.any_of is None:
            return self.connections.values()
        if len(condition.any_of) == 1:
            return self.rooms.members(condition.any_of[0])
        return set().union(*(self.rooms.members(group) for group in condition.any_of))

    def refine(
        self, found: Collection[MemberT], to: Selection, *, candidates_hold: bool
    ) -> Collection[MemberT]:
        """The connections of `found` that match the rest of the selection. With `candidates_hold` they come
        from the index of the filter."""
        condition = to.filter
        if condition is not None and found:
            if not candidates_hold:
                if condition.connection_id is not None:
                    found = [c for c in found if c.id == condition.connection_id]
                if condition.any_of is not None:
                    found = [c for c in found if in_any(c, condition.any_of)]
            if condition.none_of:
                found = self._without(found, condition.none_of)
            if condition.text and (predicate := condition.predicate) is not None:
                found = [c for c in found if predicate(c)]
        if to.excluded:
            out = frozenset(to.excluded)
            found = [c for c in found if c.id not in out]
        if to.server is not None:
            found = [c for c in found if c.server.id == to.server]
        if to.within is not None:
            found = [c for c in found if to.within in c.groups]
        return found

    def _without(self, found: Collection[MemberT], groups: tuple[str, ...]) -> Collection[MemberT]:
        parts = [members for group in groups if (members := self.rooms.members(group))]
        if not parts:
            return found
        out = parts[0] if len(parts) == 1 else set().union(*parts)
        return [c for c in found if c not in out]


def check_groups(limit: int, groups: AbstractSet[str], new: Collection[str]) -> None:
    """Raises `PeerError` (too-many-groups) if a connection in `groups` cannot join the new ones."""
    # The sum is cheap and nearly always small enough; only the union counts no group twice.
    if len(groups) + len(new) > limit and len(groups | set(new)) > limit:
        raise PeerError(TOO_MANY_GROUPS, f"at most {limit}")


def weight(condition: Filter) -> int:
    """The units of work to check a condition for one connection."""
    return 1 + len(condition.text) // 64


def in_any(connection: Member, groups: Mapping[str, object] | Collection[str]) -> bool:
    """True if the connection is in at least one of `groups`."""
    return not connection.groups.isdisjoint(groups)
