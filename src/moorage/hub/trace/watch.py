"""One watch on this node: what it wants, how much it may see, and what it has seen."""

from __future__ import annotations

from binascii import crc32
from collections import deque
from collections.abc import Iterable
from itertools import chain
from typing import Final

from moorage.hub.hub import Connection, Hub
from moorage.hub.rates import Bucket, Rate
from moorage.wire.groups import namespace_group, room_group
from moorage.wire.trace.scope import Scope
from moorage.wire.trace.seen import Seen

MAX_TAPS: Final = 1_000
"""Maximum connections that one watch follows on one node."""
RATE: Final = Rate(per_second=500.0, burst=500.0)
"""Packets that one watch may see on one node."""
MAX_WAITING: Final = 1_000
"""Maximum events that wait to be fetched."""
_CRC: Final = 2**32


class Watch:
    """One watch. `now` is the node's clock."""

    __slots__ = (
        "_bucket",
        "_refusals",
        "_waiting",
        "dropped",
        "followed",
        "group",
        "id",
        "limited",
        "scope",
    )

    def __init__(self, watch_id: str, scope: Scope, now: float) -> None:
        self.id = watch_id
        self.scope = scope
        self.group = "" if scope.room is None else _group(scope.namespace, scope.room)
        """The wire name of the room that it watches; empty if it watches none."""
        self.followed: set[Connection] = set()
        """The connections that it follows now."""
        self.limited = False
        """True if a connection is not followed because there are too many."""
        self.dropped = 0
        """Packets that were not kept since the last `take`."""
        self._bucket = Bucket(RATE, now)
        self._waiting: deque[Seen] = deque()
        self._refusals = 0.0

    def in_hub(self, name: str) -> bool:
        """True if it watches a hub with this name."""
        return not self.scope.hub or self.scope.hub.casefold() == name.casefold()

    def wants(self, connection: Connection) -> bool:
        """True if it follows this connection. Members of a room are found in another way."""
        scope = self.scope
        if not self.in_hub(connection.hub.name):
            return False
        if scope.connection:
            return connection.id == scope.connection
        if scope.user is not None:
            return connection.user_id == scope.user
        if scope.app_server:
            return connection.server.id == scope.app_server
        return scope.sample > 0 and crc32(connection.id.encode()) < scope.sample * _CRC

    def wants_refused(self, hub: str, user: str | None) -> bool:
        """True if it is told of this refused client. Of refused clients in a sample, it gets every n-th."""
        if not self.in_hub(hub):
            return False
        if self.scope.user is not None:
            return user == self.scope.user
        self._refusals += self.scope.sample
        if self._refusals < 1.0:
            return False
        self._refusals -= 1.0
        return True

    def follows(self, connection: Connection) -> bool:
        """True if a connection that it has followed so far is still one of those that it wants."""
        return not self.scope.app_server or connection.server.id == self.scope.app_server

    def admits(self, now: float) -> bool:
        """True if it may see one more packet now; counts the packet as dropped if not."""
        if self._bucket.take(now):
            return True
        self.dropped += 1
        return False

    def add(self, seen: Seen) -> None:
        """Keep an event, or count it as dropped if too many wait."""
        if len(self._waiting) >= MAX_WAITING:
            self.dropped += 1
        else:
            self._waiting.append(seen)

    def take(self) -> tuple[tuple[Seen, ...], int]:
        """The events since the last call, oldest first, and how many are missing. Forgets both."""
        events, dropped = tuple(self._waiting), self.dropped
        self._waiting.clear()
        self.dropped = 0
        return events, dropped


def _group(namespace: str, room: str) -> str:
    return room_group(namespace, room) if room else namespace_group(namespace)


def indexed(hub: Hub, watch: Watch) -> Iterable[Connection] | None:
    """The connections of a hub that a watch may want, from the index that has them; None if all connections
    have to be looked at. Do not change the index while iterating."""
    scope, directory = watch.scope, hub.directory
    if scope.connection:
        found = directory.connections.get(scope.connection)
        return () if found is None else (found,)
    if scope.user is not None:
        return directory.of_user(scope.user)
    if scope.room is not None:
        return directory.rooms.members(watch.group)
    if scope.app_server:
        servers = [server for server in hub.servers.serving() if server.id == scope.app_server]
        return chain.from_iterable(server.clients for server in servers)
    return None
