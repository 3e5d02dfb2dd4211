"""Connection state recovery in one hub at one node: the sockets that may be recovered, which of them are
parked, and the log of what they may have missed."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection
from itertools import islice
from typing import Final

from moorage.hub.ports import Interest
from moorage.hub.recovery.counts import Counts
from moorage.hub.recovery.sockets.away import Beside
from moorage.hub.recovery.sockets.carried import Carried
from moorage.hub.recovery.sockets.log import DeliveryLog
from moorage.hub.recovery.sockets.recording import Recording
from moorage.hub.recovery.sockets.track import Claim, Track
from moorage.hub.recovery.sockets.tracked import ConnectionT, TrackedRooms
from moorage.hub.rooms import Directory, Rooms
from moorage.hub.settings import RecoverySettings
from moorage.wire.groups import prefix_of

ENDED_AT_ONCE: Final = 500
"""Maximum number of parked sockets whose time is over that one tick ends: 3 ms of work."""
SLACK: Final = 5.0
"""Seconds added to the heartbeat's times: after those a client that received nothing has been noticed."""


class Recovery(Recording[ConnectionT]):
    """All state of one hub."""

    def __init__(
        self,
        hub: str,
        epoch: str,
        settings: RecoverySettings,
        directory: Directory[ConnectionT],
        news: Interest | None,
        *,
        counts: Counts,
        now: float,
    ) -> None:
        super().__init__(DeliveryLog(epoch, settings, counts), directory, now)
        self.counts = counts
        self.margin = SLACK
        """Seconds after which a client has received a packet, or its end has been noticed."""
        self._longest = 0.0
        self._news = news
        self.emptied: Callable[[ConnectionT], object] = _nobody
        """Called when the last socket of a connection that has quietly ended is back, or has ended too."""
        self._tracks: dict[str, Track[ConnectionT]] = {}
        self._private: dict[str, Track[ConnectionT]] = {}
        """By the socket's private room."""
        self._back: deque[tuple[Track[ConnectionT], float, int]] = deque()
        """Sockets from other nodes whose clients are back, with the time and the position of their return."""
        self._lent: dict[str, Track[ConnectionT]] = {}
        """Sockets that another node has taken, until it has stored them."""
        live: TrackedRooms[ConnectionT] = TrackedRooms(hub, self.change)
        directory.rooms.hand_over(live)
        directory.rooms = live
        self.away.rooms = Rooms(hub)
        if news is not None:
            live.news = Beside(news, self.away.rooms)
            self.away.rooms.news = Beside(news, live)

    @property
    def is_empty(self) -> bool:
        """True if no socket may be recovered."""
        return not self._tracks

    # -- sockets --------------------------------------------------------------------------------

    def begin(
        self, connection: ConnectionT, namespace: str, sid: str, pid: str, lasts: float
    ) -> Track[ConnectionT]:
        """A new socket, which may be away for `lasts` seconds."""
        track: Track[ConnectionT] = Track(
            pid, namespace, sid, connection_id=connection.id, user_id=connection.user_id
        )
        track.since = self.log.position
        track.confirmed = track.live_since = self.now
        track.server = connection.server
        track.connection = connection
        track.lasts = lasts
        self._tracks[pid] = track
        self._private[track.private] = track
        if connection.tracks is None:
            connection.tracks = {}
        connection.tracks[track.prefix] = track
        self._longest = max(self._longest, lasts)
        self.log.retention = self._longest + self.margin
        if self.scribe is not None:
            self.scribe.begun(track, self.log.position, self.now, self.margin)
        return track

    def heartbeat(self, interval: float, timeout: float) -> None:
        """A client has a heartbeat with these times."""
        self.margin = max(self.margin, interval + timeout + SLACK)
        self.log.retention = self._longest + self.margin

    def park(self, connection: ConnectionT, *, quiet: bool = False) -> None:
        """A connection ends in a way that lets its client come back to its sockets. `quiet`: their app server
        is not told of it."""
        assert connection.tracks is not None
        tracks = connection.tracks
        if not quiet:
            connection.tracks = None
        # A limit may end the first ones while the last ones are parked.
        for track in tuple(tracks.values()):
            track.server = connection.server
            track.quiet, track.ended = (connection, None) if quiet else (None, connection)
            self._park(track, [g for g in connection.groups if prefix_of(g) in ("", track.prefix)])
            late = [sending.position for sending in self._sendings if sending.has_missed(connection, track)]
            track.interrupted = min(late, default=0)
        if self.scribe is not None:
            self.scribe.away(connection.id, self.now)

    def _park(self, track: Track[ConnectionT], groups: Collection[str]) -> None:
        if self.now - track.live_since >= self.margin:
            track.confirmed = self.now - self.margin
        track.connection = None
        self._put_away(track, groups)
        self.counts.parked += 1

    def _put_away(self, track: Track[ConnectionT], groups: Collection[str]) -> None:
        self.away.put(track, groups, self.now)
        if len(self.away) > self.log.settings.recovery_max_parked:
            self.end(self.away.oldest())

    def resume(self, track: Track[ConnectionT], connection: ConnectionT) -> None:
        """The client is back: its new connection takes the place of the parked socket."""
        assert track.claim is not None
        track.resumed(track.claim.after, self.log.position)
        track.connection = connection
        track.claim = track.quiet = None
        track.live_since = self.now
        track.interrupted = 0
        track.server = connection.server
        rooms = self._directory.rooms
        for group in tuple(track.groups):
            Rooms.join(rooms, connection, group, private=group == track.private)
        self.away.take(track)
        track.id = connection.id
        for sending in self._sendings:
            sending.replayed(connection)
        if track.carried is not None:
            track.carried = track.carried.looked_up()
            self._back.append((track, self.now, self.log.position))
        if self.scribe is not None:
            self.scribe.back(track, self.log.position, self.now, self.margin)

    def served(self, connection: ConnectionT, number: int) -> None:
        """Another app server serves a connection from now on, by this number on its link."""
        for track in (connection.tracks or {}).values():
            track.server = connection.server
            if self.scribe is not None:
                self.scribe.served(track, self.log.position, self.now, self.margin, number)

    def lacks(self, track: Track[ConnectionT]) -> None:
        """A socket lacks something that nobody has: its client is refused when it comes back."""
        track.lacks(self.log.position)
        if self.scribe is not None:
            self.scribe.ended(track)

    def claim(self, track: Track[ConnectionT], claim: Claim[ConnectionT]) -> None:
        """A client comes back to a parked socket."""
        track.claim = claim
        connection = claim.connection
        if connection.tracks is None:
            connection.tracks = {}
        connection.tracks[track.prefix] = track

    def unclaim(self, track: Track[ConnectionT]) -> None:
        """The client has gone away again."""
        claim, track.claim = track.claim, None
        assert claim is not None
        assert claim.connection.tracks is not None
        del claim.connection.tracks[track.prefix]

    def end(self, track: Track[ConnectionT]) -> None:
        """The socket cannot be recovered any more."""
        if self._tracks.pop(track.pid, None) is None and self._lent.pop(track.pid, None) is None:
            return
        if self.scribe is not None:
            self.scribe.ended(track)
        if self._private.get(track.private) is track:
            del self._private[track.private]
        former, track.quiet = track.quiet, None
        if track.connection is None:
            self.away.take(track)
            if track.claim is not None:
                self.unclaim(track)
            if former is not None:
                self.forget(former, track)
        else:
            assert track.connection.tracks is not None
            track.connection.tracks.pop(track.prefix, None)

    def forget(self, former: ConnectionT, track: Track[ConnectionT]) -> None:
        """The app server does not send to the socket by this connection any more."""
        if former.tracks is not None and former.tracks.get(track.prefix) is track:
            del former.tracks[track.prefix]
            if not former.tracks:
                self.emptied(former)

    def dismiss(self, track: Track[ConnectionT]) -> None:
        """Somebody other than its app server ends a parked socket. One that a client has claimed ends when
        the app server, which has it again, has answered."""
        if track.claim is None:
            self.end(track)
        else:
            track.dismissed = True

    def find(self, pid: str) -> Track[ConnectionT] | None:
        """The socket with this `pid`."""
        return self._tracks.get(pid)

    def parked(self, private: str) -> Track[ConnectionT] | None:
        """The parked socket with this private room."""
        track = self._private.get(private)
        return track if track is not None and track.connection is None else None

    # -- sockets that move between nodes ----------------------------------------------------------

    def expect(self, track: Track[ConnectionT], groups: Collection[str], events: int) -> None:
        """A parked socket is about to come from another node, where it may have missed this number of events.
        What is sent to it here is recorded from now on. No client can come back to it yet."""
        log = self.log
        track.since = log.position
        log.skip(events)
        track.carried = Carried(track.since, log.position, track.namespace, self.now)
        log.retention = max(log.retention, track.lasts + self.margin)
        # Its app server may send its data before it is here.
        self._private[track.private] = track
        self._put_away(track, groups)

    def abandon(self, track: Track[ConnectionT]) -> None:
        """An expected socket does not come."""
        if self._private.get(track.private) is track:
            del self._private[track.private]
        self.away.take(track)

    def arrived(self, track: Track[ConnectionT]) -> None:
        """The expected socket is here."""
        self._tracks[track.pid] = self._private[track.private] = track
        self.away.name(track)
        if self.scribe is not None:
            self.scribe.arrived(track, self.log.position, self.now, self.margin)

    def lend(self, track: Track[ConnectionT]) -> None:
        """Another node has taken a parked socket, but not stored it. It is only recorded from now on."""
        self._lent[track.pid] = self._tracks.pop(track.pid)

    def give_away(self, pid: str) -> None:
        """A socket that was lent belongs to the other node for good."""
        track = self._lent.get(pid)
        if track is not None:
            self.end(track)

    def take_back(self, pid: str) -> None:
        """The node that had taken a socket is lost."""
        if (track := self._lent.pop(pid, None)) is not None:
            self._tracks[pid] = track

    def write_all(self) -> None:
        """Write all sockets into the journal, which begins anew."""
        if self.scribe is not None:
            self.scribe.again(self._tracks, self.log.position, self.now, self.margin)

    def everyone(self) -> list[Track[ConnectionT]]:
        """All sockets that may be recovered."""
        return list(self._tracks.values())

    # -- groups ---------------------------------------------------------------------------------

    def change(self, connection: ConnectionT, group: str, *, joined: bool) -> bool:
        """A connection joins or leaves a group. Returns True if only a parked socket has to do so, which is
        just being recovered for this connection."""
        assert connection.tracks is not None
        prefix = prefix_of(group)
        if not prefix:
            for track in connection.tracks.values():
                self._note(track, connection.groups, group, joined=joined)
            return False
        found = connection.tracks.get(prefix)
        if found is None:
            return False
        if found.connection is None:
            self.change_parked(found, group, joined=joined)
            return True
        self._note(found, connection.groups, group, joined=joined)
        return False

    def change_parked(self, track: Track[ConnectionT], group: str, *, joined: bool) -> None:
        """A parked socket joins or leaves a group."""
        if prefix_of(group) not in ("", track.prefix):
            return
        self._note(track, track.groups, group, joined=joined)
        if joined:
            self.away.rooms.join(track, group)
        else:
            self.away.rooms.leave(track, group)

    def _note(self, track: Track[ConnectionT], groups: Collection[str], group: str, *, joined: bool) -> None:
        if (group in groups) is not joined:
            old = self.now - self.log.retention
            most = self.log.settings.recovery_session_events
            track.changed(self.log.position, self.now, group, joined=joined, old=old, most=most)
            if self.scribe is not None and (track.pid in self._tracks or track.pid in self._lent):
                self.scribe.changed(track, self.log.position, self.now, group, joined=joined)

    def close(self, hub: str) -> None:
        """The hub has no recovery any more: nothing is recorded from now on."""
        rooms: Rooms[ConnectionT] = Rooms(hub, self._news)
        self._directory.rooms.hand_over(rooms)
        self._directory.rooms = rooms

    # -- time -----------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Forget what is too old, and end the parked sockets whose time is over."""
        self.now = now
        self.log.trim(now)
        for track in tuple(islice(self.away.over(now), ENDED_AT_ONCE)):
            self.end(track)
        while self._back and now - self._back[0][1] >= self.margin:
            track, since, position = self._back.popleft()
            if track.connection is not None and track.live_since == since:
                track.settle(position, self.log.epoch)
        if self.scribe is not None:
            self.scribe.tick(self._tracks, self.log.position, now, self.margin)


def _nobody(connection: object) -> None:
    """Report nothing."""
