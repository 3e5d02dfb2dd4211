"""One socket that may be recovered: who it is, and in which groups it was when."""

from __future__ import annotations

from collections.abc import Collection
from math import inf
from typing import Final, Generic, Protocol, TypeVar

from moorage.engine.peer import Connect
from moorage.hub.recovery.sockets.carried import Carried
from moorage.hub.recovery.sockets.log import Entry
from moorage.hub.rooms import Named
from moorage.wire.commands import Found, Selection
from moorage.wire.filters.evaluate import Subject
from moorage.wire.groups import namespace_group, room_group

ConnectionT = TypeVar("ConnectionT")
_NEVER: Final = 2**63
"""A position that no log reaches."""


class Claim(Generic[ConnectionT]):
    """A client that came back to a parked socket, and whose CONNECT is not answered yet."""

    __slots__ = ("after", "connect", "connection", "deadline")

    def __init__(self, connection: ConnectionT, connect: Connect, after: int) -> None:
        self.connection = connection
        self.connect = connect
        self.after = after
        """Position in the log from which on events are sent again."""
        self.deadline: float | None = None
        """True while it waits for the socket's data. The app server does not know of the CONNECT yet."""


class Track(Generic[ConnectionT]):
    """A socket in one namespace of a connection. While its client is away, `connection` is None, and the
    track itself is a member of `groups`."""

    __slots__ = (
        "_changes",
        "carried",
        "claim",
        "confirmed",
        "connection",
        "data",
        "dismissed",
        "ended",
        "former",
        "groups",
        "id",
        "interrupted",
        "lasts",
        "listed",
        "live_since",
        "namespace",
        "pid",
        "prefix",
        "private",
        "quiet",
        "server",
        "sid",
        "since",
        "unacked",
        "unknown",
        "unknown_time",
        "user_id",
    )

    def __init__(
        self, pid: str, namespace: str, sid: str, *, connection_id: str, user_id: str | None
    ) -> None:
        self.pid = pid
        self.id = connection_id
        """Its latest connection."""
        self.user_id = user_id
        self.namespace = namespace
        self.prefix = namespace_group(namespace)
        self.sid = sid
        self.private = room_group(namespace, sid)
        self.since = 0
        """Position in the log up to which the client has certainly had everything: at first that of its
        connect, later what it last came back with."""
        self.server: Named
        """The app server that serves it, or did so last."""
        self.connection: ConnectionT | None = None
        self.ended: ConnectionT | None = None
        """The connection that has ended, until the app server's `Save`. The app server may have sent to it
        before it knew of the end."""
        self.claim: Claim[ConnectionT] | None = None
        """Set while the socket is parked and a client has come back to it."""
        self.live_since = 0.0
        """When it was connected the last time."""
        self.confirmed = 0.0
        """The client has certainly received what was sent before this time."""
        self.lasts = 0.0
        """Seconds that the client may be away."""
        self.data: bytes | None = None
        """The app's data of the socket; None until the app server has sent it."""
        self.quiet: ConnectionT | None = None
        """With quiet recovery, while its client is away: the connection that has ended, to which the app
        server goes on to send."""
        self.groups: set[str] = set()
        """Set while its client is away."""
        self.listed: Found | None = None
        self.interrupted = 0
        """Position of an emit that was being delivered, but not yet to this client, when its connection
        ended; 0 for none."""
        self.dismissed = False
        """It ends when the app server has answered the client that claims it."""
        self.former: list[tuple[int, str, Named]] = []
        """Its former connections and their app servers, each with the position of its return. Only those
        from which the client may not have got all events."""
        self.unknown = 0
        self.unknown_time = 0.0
        """Position and time of the last change of its groups that is not kept because there were too many."""
        self.unacked: dict[int, Entry] = {}
        """Events with an ack id that the client has not acknowledged."""
        self.carried: Carried | None = None
        """The events that it has missed at other nodes, if it came from there."""
        self._changes: list[tuple[int, float, str, bool]] = []
        """Position, time, group, and whether the group was joined or left."""

    def changed(self, position: int, now: float, group: str, *, joined: bool, old: float, most: int) -> None:
        """The socket has joined or left a group. Changes before the time `old` need not be known any more.
        About `most` are kept."""
        changes = self._changes
        if changes and changes[0][1] < old:
            changes[:] = [change for change in changes if change[1] >= old]
        if len(changes) >= 2 * most:
            self.unknown, self.unknown_time, _, _ = changes[most - 1]
            del changes[:most]
        changes.append((position, now, group, joined))

    def lacks(self, position: int) -> None:
        """It may lack an event that is not in the log. Its client has come no further than this position."""
        self.unknown, self.unknown_time = position + 1, inf

    @property
    def incomplete(self) -> bool:
        """True after `lacks`."""
        return self.unknown_time == inf

    @property
    def touched(self) -> set[str]:
        """The groups that it has joined or left lately."""
        return {group for _, _, group, _ in self._changes}

    def resumed(self, after: int, position: int) -> None:
        """The client comes back at a position, and has got everything up to `after`."""
        self.since = max(self.since, after)
        self._changes[:] = [change for change in self._changes if change[0] >= after]
        self.former = [life for life in self.former if life[0] > after]
        if position > (self.former[-1][0] if self.former else after):
            self.former.append((position, self.id, self.server))

    def settle(self, position: int, epoch: str) -> None:
        """The client has certainly had everything up to this position: what the socket has brought along
        need not be kept. It may be much, such as all that a lost node had."""
        assert self.carried is not None
        self.carried = self.carried.settled(position, epoch)
        self.since = max(self.since, position)

    def wait_for_ack(self, ack_id: int, entry: Entry, at_most: int) -> None:
        """Keep an event until the client has acknowledged it, and `at_most` of them."""
        self.unacked[ack_id] = entry
        if len(self.unacked) > at_most:
            del self.unacked[next(iter(self.unacked))]

    def past(self, after: int) -> Past:
        """The socket as it was at a position."""
        lives = [*self.former, (_NEVER, self.id, self.server)]
        return Past(lives, self.user_id, self.groups, self._changes, after)


class Past:
    """A socket and its groups at a position of the log, which only grows."""

    __slots__ = ("_coming", "_last", "_lives", "groups", "id", "joined", "server", "user_id")

    def __init__(
        self,
        lives: Collection[tuple[int, str, Named]],
        user_id: str | None,
        groups: Collection[str],
        changes: Collection[tuple[int, float, str, bool]],
        after: int,
    ) -> None:
        self._lives = iter(lives)
        self._last, self.id, self.server = next(self._lives)
        self.user_id = user_id
        self.groups = set(groups)
        self.joined = dict.fromkeys(groups, after)
        """All groups in which the socket is at this position or later, and when it joined them."""
        self._coming = [change for change in changes if change[0] >= after]
        for position, _, group, joined in reversed(self._coming):
            if joined:
                self.groups.discard(group)
                self.joined[group] = position
            else:
                self.groups.add(group)
                self.joined[group] = after
        self._coming.reverse()

    def advance(self, position: int) -> None:
        """Go on to the moment at which the event at `position` was sent."""
        while self._last < position:
            self._last, self.id, self.server = next(self._lives)
        coming = self._coming
        while coming and coming[-1][0] < position:
            _, _, group, joined = coming.pop()
            if joined:
                self.groups.add(group)
            else:
                self.groups.discard(group)


class Selectable(Subject, Protocol):
    """A connection or a socket, as a selection sees it."""

    @property
    def server(self) -> Named:
        """Its app server."""


def matches(to: Selection, one: Selectable) -> bool:
    """True if the selection has this member. The caller has checked the connection that it may name."""
    groups = one.groups
    if (to.group is not None and to.group not in groups) or (
        to.within is not None and to.within not in groups
    ):
        return False
    if to.user is not None and to.user != one.user_id:
        return False
    if one.id in to.excluded or (to.server is not None and to.server != one.server.id):
        return False
    condition = to.filter
    if condition is None:
        return True
    if condition.connection_id is not None and condition.connection_id != one.id:
        return False
    if condition.any_of is not None and not any([group in groups for group in condition.any_of]):
        return False
    if any([group in groups for group in condition.none_of]):
        return False
    return condition.predicate is None or condition.predicate(one)
