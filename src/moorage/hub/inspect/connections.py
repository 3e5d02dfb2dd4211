"""Pages of the connections of this node.

Connections are ordered by hub, then as in `Buckets`. A page without a condition costs as much as its rows.
With conditions, the smallest set that an index gives (a user's, a room's, an app server's clients) is
searched; else the roster from the cursor on, in steps. A search ends after `MAX_LOOKED` connections. Its page
may then hold fewer rows than were asked for, or none, and the next page goes on where it stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Final

from moorage.hub.connections.clients import Clients
from moorage.hub.hub import Connection, Hub
from moorage.hub.inspect.buckets import position
from moorage.hub.inspect.census import Census
from moorage.hub.inspect.rows import address_of, row
from moorage.hub.turns import Job
from moorage.wire.groups import namespace_group, room_group
from moorage.wire.ids import incarnation_of
from moorage.wire.inspect.forms import ConnectionRow, ConnectionsQuery, NodeConnections

STEP: Final = 250
"""Connections that are looked at in one step."""
ROWS: Final = 50
"""Rows that are made in one step."""
MAX_LOOKED: Final = 20_000
"""Most connections that one question looks at on a node."""
FEW: Final = 1_000
"""Largest set of an index that is searched instead of the roster."""

Check = Callable[[Connection], bool]


class Page:
    """Gathers one page."""

    def __init__(
        self, clients: Clients, census: Census, name: str, query: ConnectionsQuery, cursor: tuple[str, str]
    ) -> None:
        self._clients = clients
        self._census = census
        self._name = name
        self._query = query
        self._cursor = cursor
        self._found: list[Connection] = []
        self._looked = 0
        self._following: tuple[str, str] | None = None
        self._limited = False

    def gather(self) -> Job[NodeConnections]:
        """The page."""
        for name, after in self._hubs():
            yield from self._search(name, after)
            if self._following is not None:
                break
        rows: list[ConnectionRow] = []
        for start in range(0, len(self._found), ROWS):
            if start:
                yield False
            now = self._clients.clock()
            rows += [row(each, self._name, now) for each in self._found[start : start + ROWS]]
        places = [(each.hub.casefold(), each.id) for each in rows]
        return NodeConnections(
            connections=rows, places=places, following=self._following, limited=self._limited
        )

    def _hubs(self) -> Iterator[tuple[str, str]]:
        """The hubs to search, in order, and the connection id behind which each search begins."""
        own, wanted = self._clients.incarnation, self._query.hub
        hub, last = self._cursor
        names = sorted(self._census.hubs) if wanted is None else [wanted.casefold()]
        for name in names:
            if name < hub or name not in self._census.hubs:
                continue
            node = incarnation_of(last) if name == hub else ""
            if own >= node:
                yield name, last if own == node else ""

    def _search(self, name: str, after: str) -> Job[None]:
        hub = self._clients.hubs.get(name)
        if hub is None:
            return
        check = checks(self._query, self._clients.clock())
        few = self._fewest(hub)
        if few is not None:
            yield from self._search_set(name, few, after, check)
            return
        roster = self._census.hubs.get(name)
        while roster is not None and (batch := roster.batch(after, STEP)):
            for id, connection in batch:
                if not self._take(name, after, connection, check):
                    return
                after = id
            yield False

    def _search_set(self, name: str, few: Collection[Connection], after: str, check: Check) -> Job[None]:
        behind = position(after) if after else (-1, "")
        ordered = sorted([(position(each.id), each) for each in few], key=lambda pair: pair[0])
        yield False
        for looked, (place, connection) in enumerate(ordered):
            if place > behind:
                if not self._take(name, after, connection, check):
                    return
                after = connection.id
            if looked % STEP == STEP - 1:
                yield False

    def _take(self, name: str, after: str, connection: Connection, check: Check) -> bool:
        """Look at a connection that comes after the one with the id `after`. False if the page ends before
        it."""
        full = len(self._found) >= self._query.limit
        if full or self._looked >= MAX_LOOKED:
            self._following, self._limited = (name, after), not full
            return False
        self._looked += 1
        if check(connection) and connection.id in connection.hub.directory.connections:
            self._found.append(connection)
        return True

    def _fewest(self, hub: Hub) -> Collection[Connection] | None:
        """The smallest index entry that holds all that match; None if none is small."""
        query, found = self._query, list[Collection[Connection]]()
        if query.user is not None:
            found.append(hub.directory.of_user(query.user))
        if (group := group_of(query)) is not None:
            found.append(hub.directory.rooms.members(group))
        if query.app_server is not None:
            servers = [each for each in hub.servers.serving() if each.id == query.app_server]
            found.append(
                [client for each in servers for client in each.clients]
                if len(servers) > 1
                else servers[0].clients
                if servers
                else ()
            )
        fewest = min(found, key=len, default=None)
        return fewest if fewest is not None and len(fewest) <= FEW else None


def group_of(query: ConnectionsQuery) -> str | None:
    """The group whose members the query wants."""
    if query.room is not None:
        return room_group(query.namespace or "/", query.room)
    return None if query.namespace is None else namespace_group(query.namespace)


def checks(query: ConnectionsQuery, now: float) -> Check:
    """The conditions of a query, the cheapest first."""
    tests: list[Check] = []
    if (user := query.user) is not None:
        tests.append(lambda each: each.user_id == user)
    if (group := group_of(query)) is not None:
        tests.append(lambda each: group in each.groups)
    if (server := query.app_server) is not None:
        tests.append(lambda each: each.server.id == server)
    if (youngest := query.min_age) is not None:
        tests.append(lambda each: now - each.opened_at >= youngest)
    if (oldest := query.max_age) is not None:
        tests.append(lambda each: now - each.opened_at <= oldest)
    if (queued := query.min_queued) is not None:
        tests.append(lambda each: each.outbox.size >= queued)
    if (address := query.address) is not None:
        tests.append(lambda each: address_of(each) == address)
    return lambda each: all([test(each) for test in tests]) if tests else True
