"""The rooms of this node, so that they can be listed without a walk over all groups: nearly all groups are
the private rooms of sockets. Exists only while there is an Admin API.

A list of the largest rooms looks at each room, in steps. Callers that ask the same within a second share one
answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from heapq import heappush, heapreplace
from typing import Final

from moorage.hub.connections.clients import Clients
from moorage.hub.inspect.buckets import Buckets
from moorage.hub.ports import Members
from moorage.hub.turns import Job
from moorage.wire.groups import namespace_group, room_group, room_of
from moorage.wire.inspect.forms import NodeCounts, NodeRooms, RoomCounts, RoomRow, RoomsOf, RoomsQuery

STEP: Final = 500
"""Rooms that are looked at in one step."""
PART: Final = 50
DECODED: Final = 50
"""Names that are decoded in one step."""
MAX_LOOKED: Final = 200_000
"""Most rooms that one question looks at."""
KEPT_SECONDS: Final = 1.0
"""How long an answer is kept for others with the same question."""
MAX_KEPT: Final = 32


class RoomIndex:
    """`hub.ports.Members`: notes which groups have members, and passes everything on to `others`, the news
    for other nodes, if there are any."""

    def __init__(self, others: Members | None = None) -> None:
        self.others = others
        self.hubs: dict[str, Buckets[str]] = {}
        """The wire names of rooms, by the hub's name in lower case. A few may be without members."""

    def first(self, hub: str, group: str) -> None:
        """As in the port. The group of a namespace is no room."""
        if not group.endswith("~"):
            name = hub.casefold()
            rooms = self.hubs.get(name)
            if rooms is None:
                rooms = self.hubs[name] = Buckets()
            rooms.add(group, group)
        if self.others is not None:
            self.others.first(hub, group)

    def last(self, hub: str, group: str) -> None:
        """As in the port. Also told of private rooms, which are not in the index."""
        name = hub.casefold()
        rooms = self.hubs.get(name)
        if rooms is not None:
            rooms.remove(group)
            if not len(rooms):
                del self.hubs[name]
        if self.others is not None:
            self.others.last(hub, group)

    def is_pending(self, hub: str, groups: Iterable[str]) -> bool:
        """As in the port."""
        return self.others is not None and self.others.is_pending(hub, groups)

    def when_visible(self, hub: str, groups: Iterable[str], call: Callable[[], object]) -> None:
        """As in the port."""
        if self.others is None:
            call()
        else:
            self.others.when_visible(hub, groups, call)

    @property
    def total(self) -> int:
        """Number of rooms of all hubs."""
        return sum(map(len, self.hubs.values()))

    def count(self, hub: str) -> int:
        """Number of rooms of a hub (in lower case)."""
        rooms = self.hubs.get(hub)
        return 0 if rooms is None else len(rooms)


class LargestRooms:
    """Lists the rooms of `clients`."""

    def __init__(self, clients: Clients, index: RoomIndex) -> None:
        self._clients = clients
        self._index = index
        self._kept: dict[RoomsOf, tuple[float, NodeRooms]] = {}

    def largest(self, asked: RoomsOf) -> Job[NodeRooms]:
        """The largest rooms that match."""
        known = self._kept.get(asked)
        if known is not None and self._clients.clock() - known[0] < KEPT_SECONDS:
            return known[1]
        found = yield from self._look(asked.query, asked.query.limit + asked.more)
        self._kept.pop(asked, None)
        if len(self._kept) >= MAX_KEPT:
            del self._kept[next(iter(self._kept))]
        self._kept[asked] = (self._clients.clock(), found)
        return found

    def _look(self, query: RoomsQuery, limit: int) -> Job[NodeRooms]:
        largest: list[tuple[int, str, str]] = []
        total = looked = 0
        matches = _Matches(query)
        for name in sorted(self._index.hubs) if query.hub is None else [query.hub.casefold()]:
            after = ""
            while looked < MAX_LOOKED and (batch := self._batch(name, after)):
                hub = self._clients.hubs.get(name)
                for start in range(0, len(batch), PART):
                    if hub is not None:
                        for group, _ in batch[start : start + PART]:
                            if matches(group) and (members := len(hub.directory.rooms.members(group))):
                                total += 1
                                _keep(largest, (members, name, group), limit)
                    if matches.decoded > DECODED:
                        matches.decoded = 0
                        yield False
                looked += len(batch)
                after = batch[-1][0]
                yield False
        rows: list[RoomRow] = []
        for place, entry in enumerate(sorted(largest, key=lambda entry: (-entry[0], *entry[1:]))):
            row = self._row(*entry)
            if row is not None:
                rows.append(row)
            if place % DECODED == DECODED - 1:
                yield False
        return NodeRooms(rooms=rows, total=total, limited=looked >= MAX_LOOKED)

    def _batch(self, name: str, after: str) -> list[tuple[str, str]]:
        rooms = self._index.hubs.get(name)
        return [] if rooms is None else rooms.batch(after, STEP)

    def _row(self, members: int, name: str, group: str) -> RoomRow | None:
        """None for a group that is no room, or whose hub is gone by now."""
        hub, found = self._clients.hubs.get(name), room_of(group)
        if hub is None or found is None:
            return None
        return RoomRow(hub=hub.name, namespace=found[0], room=found[1], members=members)

    def counts(self, question: RoomCounts) -> Job[NodeCounts]:
        """The members of some rooms."""
        members: list[int] = []
        for names in question.rooms:
            members.append(self._members_of(*names))
            if len(members) % PART == 0:
                yield False
        return NodeCounts(members=members)

    def _members_of(self, hub_name: str, namespace: str, room: str) -> int:
        hub = self._clients.hub(hub_name)
        return 0 if hub is None else len(hub.directory.rooms.members(room_group(namespace, room)))


class _Matches:
    """Tells whether a group is a room that the query wants. Groups are compared by their wire names as far as
    possible, because decoding a name takes as long as everything else for ten rooms. Base64 has four
    characters for three bytes, so the last bytes of a prefix may not show."""

    def __init__(self, query: RoomsQuery) -> None:
        self._namespace = "0~" if query.namespace is None else namespace_group(query.namespace)
        self._prefix = prefix = query.prefix or ""
        encoded = room_group("", prefix).rpartition("~")[2]
        self._start = encoded[: len(prefix.encode()) // 3 * 4]
        self._exact = len(prefix.encode()) % 3 == 0
        self.decoded = 0
        """Number of names that were decoded."""

    def __call__(self, group: str) -> bool:
        if not group.startswith(self._namespace):
            return False
        if not self._prefix:
            return True
        if not group.rpartition("~")[2].startswith(self._start):
            return False
        if self._exact:
            return True
        self.decoded += 1
        found = room_of(group)
        return found is not None and found[1].startswith(self._prefix)


def _keep(largest: list[tuple[int, str, str]], entry: tuple[int, str, str], limit: int) -> None:
    if len(largest) < limit:
        heappush(largest, entry)
    elif entry > largest[0]:
        heapreplace(largest, entry)
