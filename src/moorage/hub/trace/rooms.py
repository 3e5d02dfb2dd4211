"""The rooms that are watched. The members of a watched room are kept in a set that reports every change."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Protocol

from moorage.hub.hub import Connection, Hub
from moorage.hub.trace.watch import Watch
from moorage.wire.commands import Selection


class Changed(Protocol):
    """Is told that a connection has joined or left a watched room."""

    def __call__(self, watch: Watch, connection: Connection, *, joined: bool) -> None: ...


class WatchedMembers(set[Connection]):
    """The members of a watched room."""

    def __init__(self, changed: Callable[..., None], members: Iterable[Connection]) -> None:
        super().__init__(members)
        self._changed = changed

    def add(self, connection: Connection, /) -> None:
        """`set.add`. The caller has looked that it is new."""
        super().add(connection)
        self._changed(connection, joined=True)

    def discard(self, connection: Any, /) -> None:
        """`set.discard`. The caller has looked that it is there."""
        super().discard(connection)
        self._changed(connection, joined=False)


class RoomWatches:
    """All watched rooms of this node."""

    def __init__(self, changed: Changed) -> None:
        self._changed = changed
        self._watches: list[Watch] = []
        self._hubs: dict[Hub, dict[str, tuple[Watch, ...]]] = {}
        """The watches by hub and group."""

    def __bool__(self) -> bool:
        return bool(self._watches)

    def add(self, watch: Watch) -> None:
        """Watch a room, from the next `cover` on."""
        self._watches.append(watch)

    def remove(self, watch: Watch) -> None:
        """End a watch."""
        self._watches.remove(watch)
        for hub, groups in self._hubs.items():
            if watch in groups.get(watch.group, ()):
                self._watch(hub, groups, watch.group, tuple(w for w in groups[watch.group] if w is not watch))

    def cover(self, hubs: Iterable[Hub]) -> list[tuple[Hub, Watch]]:
        """Watch the rooms in those of these hubs in which they are not watched yet: hubs come and go. Returns
        what is new."""
        there = tuple(hubs)
        for gone in self._hubs.keys() - set(there):
            del self._hubs[gone]
        new: list[tuple[Hub, Watch]] = []
        for hub in there:
            for watch in self._watches:
                groups = self._hubs.setdefault(hub, {})
                known = groups.get(watch.group, ())
                if watch not in known and watch.in_hub(hub.name):
                    self._watch(hub, groups, watch.group, (*known, watch))
                    new.append((hub, watch))
        return new

    def _watch(
        self, hub: Hub, groups: dict[str, tuple[Watch, ...]], group: str, watches: tuple[Watch, ...]
    ) -> None:
        rooms = hub.directory.rooms
        if watches:
            groups[group] = watches
            rooms.watch(group, partial(WatchedMembers, partial(self._tell, watches)))
        else:
            del groups[group]
            rooms.unwatch(group)

    def _tell(self, watches: tuple[Watch, ...], connection: Connection, *, joined: bool) -> None:
        for watch in watches:
            self._changed(watch, connection, joined=joined)

    def of(self, hub: Hub, to: Selection) -> list[Watch]:
        """The watches of the rooms that an emit names. Its exceptions do not matter."""
        groups = self._hubs.get(hub)
        if not groups:
            return []
        named = {to.group}
        if to.filter is not None:
            named.update(to.filter.any_of or ())
        return [watch for group in groups.keys() & named for watch in groups[group]]
