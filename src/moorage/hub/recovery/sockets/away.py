"""The sockets of a hub whose clients are away. They are no connections: nothing is sent to them, and they
are not listed or counted. But they stay members of their groups, and commands may change those."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import islice
from typing import TypeVar

from moorage.hub.ports import Interest
from moorage.hub.recovery.sockets.track import Track, matches
from moorage.hub.rooms import Directory, MemberT, Rooms
from moorage.hub.settings import RecoverySettings
from moorage.wire.commands import Selection

ConnectionT = TypeVar("ConnectionT")


class Beside:
    """News of the groups of one index, for other nodes. While a group has members in the `other` index, it is
    no news that it has its first or last one here."""

    def __init__(self, news: Interest, other: Rooms[MemberT]) -> None:
        self._news = news
        self._has = other.members

    def first(self, hub: str, group: str) -> None:
        """`ports.Interest`."""
        if not self._has(group):
            self._news.first(hub, group)

    def last(self, hub: str, group: str) -> None:
        """`ports.Interest`."""
        if not self._has(group):
            self._news.last(hub, group)


class Away(Directory[Track[ConnectionT]]):
    """The index of parked sockets: by `pid`, by their latest connection, by user and by group."""

    def __init__(self) -> None:
        super().__init__()
        self._of: dict[str, dict[str, Track[ConnectionT]]] = {}
        self._deadlines: dict[float, dict[Track[ConnectionT], float]] = {}
        """Ends of the times that sockets may be away, by the length of that time. Each list is in order."""
        self.data_bytes = 0
        """Bytes of the app's data of all these sockets."""

    def __len__(self) -> int:
        return len(self.connections)

    def put(self, track: Track[ConnectionT], groups: Collection[str], now: float) -> None:
        """A client has gone away, whose socket was in these groups."""
        self.name(track)
        self._deadlines.setdefault(track.lasts, {})[track] = now + track.lasts
        self.data_bytes += len(track.data or b"")
        self._add_user(track)
        for group in groups:
            self.rooms.join(track, group, private=group == track.private)

    def name(self, track: Track[ConnectionT]) -> None:
        """From now on, its `pid` and its latest connection mean this socket. It may be expected from another
        node twice, or be here from a journal, too."""
        self.connections[track.pid] = track
        self._of.setdefault(track.id, {})[track.namespace] = track

    def of(self, connection: str) -> Collection[Track[ConnectionT]]:
        """The sockets of a connection that has ended."""
        found = self._of.get(connection)
        return found.values() if found is not None else ()

    def take(self, track: Track[ConnectionT]) -> None:
        """The client is back, or the socket has ended."""
        if self.connections.get(track.pid) is track:
            del self.connections[track.pid]
        same = self._deadlines[track.lasts]
        del same[track]
        if not same:
            del self._deadlines[track.lasts]
        self.data_bytes -= len(track.data or b"")
        track.data = None
        self.rooms.leave_all(track)
        self._remove_user(track)
        sockets = self._of.get(track.id, {})
        if sockets.get(track.namespace) is track:
            del sockets[track.namespace]
            if not sockets:
                del self._of[track.id]

    def oldest(self) -> Track[ConnectionT]:
        """The unclaimed socket whose time is over first. There must be one."""
        # The one that was parked last is always among these, or behind one of them.
        first: list[tuple[Track[ConnectionT], float]] = []
        for some in self._deadlines.values():
            first.extend(islice((row for row in some.items() if row[0].claim is None), 1))
        return min(first, key=_deadline)[0]

    def over(self, now: float) -> Iterator[Track[ConnectionT]]:
        """The unclaimed sockets whose time is over."""
        for some in self._deadlines.values():
            for track, deadline in some.items():
                if deadline > now:
                    break
                if track.claim is None:
                    yield track

    def keep(self, track: Track[ConnectionT], data: bytes, settings: RecoverySettings) -> bool:
        """Keep the app's data of a socket. False if there is more than the limits allow: none is kept."""
        total = self.data_bytes - len(track.data or b"") + len(data)
        fits = len(data) <= settings.recovery_session_bytes and total <= settings.recovery_hub_bytes
        track.data = data if fits else b""
        self.data_bytes = total if fits else total - len(data)
        return fits

    def select(self, to: Selection) -> Collection[Track[ConnectionT]]:
        """`Directory.select`."""
        name = to.connection
        if name is None and to.filter is not None:
            name = to.filter.connection_id
        if name is not None:
            return [track for track in self.of(name) if matches(to, track)]
        return super().select(to)


def _deadline(row: tuple[object, float]) -> float:
    return row[1]
