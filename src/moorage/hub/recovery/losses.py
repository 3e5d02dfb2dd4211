"""Emits that were lost on the way, such as those of another node. Sockets that may have missed one cannot be
recovered any more, and the connections of their clients end. So the clients come back at once, and get new
sockets: the app learns that they lack something."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Final

from moorage.hub.hub import Connection, Hub
from moorage.hub.recovery.commands import Change
from moorage.hub.recovery.sockets.replay import EVERYONE, USER
from moorage.hub.recovery.sockets.track import Track
from moorage.hub.turns import AT_ONCE, Intake, Job, Turns
from moorage.wire.commands import Invoke, Send, SendToConnection

CONNECTION: Final = "\0="
"""Prefix of the name of the lane of one connection. Other names are in `sockets.replay`, or are groups."""
MANY: Final = 1_000
"""Maximum number of groups of one emit. More of them count as everyone."""
LOOKED_AT: Final = 500
"""Number of sockets that are examined in one step."""


def lanes_of(command: Send | SendToConnection | Invoke | Change) -> Collection[str]:
    """The lanes that a command is for."""
    if isinstance(command, SendToConnection):
        return (CONNECTION + command.connection,)
    to = command.to
    if to.connection is not None:
        return (CONNECTION + to.connection,)
    if to.group is not None:
        return (to.group,)
    if to.user is not None:
        return (USER + to.user,)
    groups = None if to.filter is None else to.filter.any_of
    return (EVERYONE,) if groups is None or len(groups) > MANY else groups


class Losses:
    """Ends the sockets of a node. `end` closes a connection."""

    def __init__(self, hubs: Mapping[str, Hub], turns: Turns, end: Callable[[Connection], object]) -> None:
        self._hubs = hubs
        self._end = end
        self._work = Intake(turns)

    @property
    def busy(self) -> bool:
        """True while sockets are being ended."""
        return self._work.busy

    def mark(self) -> dict[str, int]:
        """A moment: the position in the log of each hub. Sockets that begin later have missed nothing."""
        found = {}
        for name, hub in self._hubs.items():
            if hub.recovery is not None:
                hub.recovery.log.skip(1)
                found[name] = hub.recovery.log.position
        return found

    def lost(
        self,
        hub_name: str,
        lanes: Collection[str],
        before: Mapping[str, int],
        done: Callable[[str, int], object],
        *,
        moved: bool,
    ) -> None:
        """Emits to these lanes are lost. `before`: sockets that have had everything up to this moment are not
        concerned. `moved`: only sockets that came from other nodes are. Calls `done` with the name of the hub
        and the number of sockets, if there are any."""
        hub = self._hubs.get(hub_name.casefold())
        position = before.get(hub_name.casefold())
        if hub is None or hub.recovery is None or position is None:
            return
        tracks = hub.recovery.everyone()
        tracks = [track for track in tracks if track.carried is not None] if moved else tracks
        self._work.add(self._ending(hub, tracks, frozenset(lanes), position, done))

    def missed(
        self,
        hub_name: str,
        pids: Collection[str],
        lanes: Collection[str],
        done: Callable[[str, int], object],
    ) -> None:
        """As `lost`, for emits that are missing at some of these sockets, however much they have had."""
        hub = self._hubs.get(hub_name.casefold())
        recovery = None if hub is None else hub.recovery
        if hub is not None and recovery is not None:
            tracks = filter(None, map(recovery.find, pids))
            self._work.add(self._ending(hub, tracks, frozenset(lanes), recovery.log.position + 1, done))

    def _ending(
        self,
        hub: Hub,
        tracks: Iterable[Track[Connection]],
        lanes: frozenset[str],
        position: int,
        done: Callable[[str, int], object],
    ) -> Job[None]:
        count = ended = 0
        for place, track in enumerate(tracks, 1):
            recovery = hub.recovery
            if recovery is None:
                return
            concerned = track.since < position and not track.incomplete
            if concerned and (EVERYONE in lanes or not lanes.isdisjoint(_lanes_of(track))):
                count += 1
                recovery.lacks(track)
                if track.connection is not None:
                    ended += 1
                    self._end(track.connection)
            if place % LOOKED_AT == 0 or ended >= AT_ONCE:
                ended = 0
                yield False
        if count:
            done(hub.name, count)


def _lanes_of(track: Track[Connection]) -> Iterator[str]:
    """The lanes in which a socket is or was lately."""
    connection = track.connection
    yield from track.groups if connection is None else connection.groups
    yield from track.touched
    yield CONNECTION + track.id
    if track.user_id is not None:
        yield USER + track.user_id
