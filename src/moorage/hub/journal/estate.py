"""The sockets of a node that is lost, as its journal tells: each hub's delivery log, written once more.

The journal's entries are carried out in order on a `Recovery` of their own. So a socket's groups, what was
sent to it and what was forgotten are as they were at the lost node when it wrote its last page."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection
from typing import Any, Final

from moorage.hub.journal.pages import Pages
from moorage.hub.recovery.commands import Change, apply, recorded
from moorage.hub.recovery.counts import Counts
from moorage.hub.recovery.moves import SEEN_SECONDS
from moorage.hub.recovery.sockets.carried import Carried, missed
from moorage.hub.recovery.sockets.log import Entry
from moorage.hub.recovery.sockets.replay import missed_by, position_of, start_of
from moorage.hub.recovery.sockets.sending import Sending
from moorage.hub.recovery.sockets.state import Recovery
from moorage.hub.recovery.sockets.track import Claim, Track
from moorage.hub.rooms import Directory
from moorage.hub.settings import RecoverySettings
from moorage.hub.turns import Job
from moorage.wire.commands import Found, Send
from moorage.wire.recovery import journal as wire
from moorage.wire.recovery.moving import Segment
from moorage.wire.recovery.offsets import parse_offset

STEP_ENTRIES: Final = 250
"""Number of entries that are carried out in one step: about a millisecond."""


class _Named:
    """An app server of the lost node."""

    def __init__(self, server_id: str) -> None:
        self.id = server_id


class _Ghost:
    """A connection of the lost node."""

    def __init__(self, known: wire.Known) -> None:
        self.id = known.connection
        self.user_id = known.user
        self.server = _Named(known.server)
        self.groups: set[str] = set()
        self.tracks: dict[str, Track[Any]] | None = None
        self.listed: Found | None = None


class HubEstate:
    """The sockets and the log that a lost node had of one hub."""

    def __init__(self, hub: str, epoch: str, settings: RecoverySettings, now: float, *, is_cut: bool) -> None:
        self._is_cut = is_cut
        """True until the first position is known, if nothing is known from before."""
        self.hub = hub
        self.epoch = epoch
        directory: Directory[_Ghost] = Directory()
        self.recovery: Recovery[_Ghost] = Recovery(
            hub, epoch, settings, directory, None, counts=Counts(), now=now
        )
        self._directory = directory
        self.instances: set[str] = set()
        """App servers that had a session."""
        self.executed: dict[str, int] = {}
        """The highest number of each app server with a session there that was carried out, or handed over."""
        self._done: dict[str, int] = {}
        """The highest numbers that the journal has."""
        self._seen: set[tuple[str, int]] = set()
        """The identities of emits that were carried out there lately, or handed over."""
        self._times: deque[tuple[float, tuple[str, int]]] = deque()
        """The identities in the journal, with the times at which these emits were carried out."""
        self.twice: frozenset[tuple[str, int]] = frozenset()
        """Emits that the heir has carried out, too, for the sockets of this estate."""
        self.taken: dict[str, tuple[int, int]] = {}
        """How far each session of an app server was carried out (`wire.recovery.journal.Taken`)."""
        self._clients: dict[int, set[str]] = {}
        """The `pid`s of a client's sockets, by its number on the link of its app server. Packets for a client
        that was away may have been on their way."""
        self._stored = 0
        """The last position that the journal has. What is handed over has later ones, and so may have what
        clients got while nothing could be stored: those offsets are unknown."""
        self._ghosts: dict[str, _Ghost] = {}
        self._sendings: dict[int, Sending] = {}
        self._privates: dict[str, str] = {}
        """The `pid`s of sockets, by their private rooms."""

    # -- what the journal tells -------------------------------------------------------------------

    def take(self, entry: wire.Entry, shift: float) -> None:
        """Carry out one entry. `shift` turns the lost node's times into this node's."""
        recovery, log = self.recovery, self.recovery.log
        if isinstance(entry, wire.Known | wire.Changed | wire.Event | wire.Away):
            recovery.now = entry.now + shift
        if isinstance(entry, wire.Known | wire.Changed | wire.Event):
            log.position = max(log.position, entry.position)
            if self._is_cut:
                self._is_cut = False
                log.floor, log.floor_time = entry.position - isinstance(entry, wire.Event), recovery.now
        if isinstance(entry, wire.Event):
            self._event(entry)
        elif isinstance(entry, wire.Acked):
            self._acked(entry)
        elif isinstance(entry, wire.Taken):
            self.taken[entry.session] = entry.batch, entry.place
        elif isinstance(entry, wire.Known):
            self._known(entry, shift)
        elif isinstance(entry, wire.Linked):
            (self.instances.add if entry.up else self.instances.discard)(entry.instance)
        elif isinstance(entry, wire.Away):
            self._away(entry.connection)
        elif isinstance(entry, wire.Steps):
            self._steps(entry)
        else:
            self._track(entry)

    def _event(self, entry: wire.Event) -> None:
        to = entry.to
        made = Entry(
            entry.position,
            self.recovery.now,
            entry.namespace,
            entry.payload,
            to,
            source=entry.source,
            number=entry.number,
            ack_id=entry.ack - 1 if entry.ack else None,
        )
        self.recovery.log.add(made, entry.keys, private=to is None)
        if to is None and made.ack_id is not None:
            track = self.recovery.find(self._privates.get(next(iter(entry.keys), ""), ""))
            if track is not None:
                track.wait_for_ack(made.ack_id, made, self.recovery.log.settings.recovery_session_events)
        if entry.source:
            self._done[entry.source] = max(entry.number, self._done.get(entry.source, 0))
            identity, now = (entry.source, entry.number), self.recovery.now
            self._seen.add(identity)
            self._times.append((now, identity))
            while self._times[0][0] < now - SEEN_SECONDS:
                self._seen.discard(self._times.popleft()[1])

    def _acked(self, entry: wire.Acked) -> None:
        track = self.recovery.find(entry.pid)
        if track is not None:
            track.unacked.pop(entry.ack_id, None)

    def _track(self, entry: wire.Changed | wire.Saved | wire.Ended | wire.Moved) -> None:
        track = self.recovery.find(entry.pid)
        if track is None:
            return
        if isinstance(entry, wire.Moved):
            track.carried = Carried(entry.base, entry.end, track.namespace, self.recovery.now)
            track.carried.fill(entry.segments, entry.executed, entry.seen, whole=entry.whole)
            if track.connection is None:
                # A client that is back has got these events, with new ack ids.
                track.unacked.update((e.ack_id, e) for e in track.carried.entries if e.ack_id is not None)
            return
        if isinstance(entry, wire.Ended):
            self.recovery.end(track)
        elif isinstance(entry, wire.Saved):
            track.data = entry.data
        elif track.connection is None:
            self.recovery.change_parked(track, entry.group, joined=entry.joined)
        elif entry.joined:
            self._directory.rooms.join(track.connection, entry.group)
        else:
            self._directory.rooms.leave(track.connection, entry.group)

    def _known(self, known: wire.Known, shift: float) -> None:
        recovery = self.recovery
        recovery.margin = max(recovery.margin, known.margin)
        track = recovery.find(known.pid)
        if track is None:
            track = self._begin(known)
            if not known.new:
                track.unknown, track.unknown_time = known.position, recovery.now
        elif known.back and track.connection is None:
            recovery.claim(track, Claim(self._ghost(known), _NO_CONNECT, known.since))
            recovery.resume(track, self._ghost(known))
        if known.channel:
            self._clients.setdefault(known.channel, set()).add(known.pid)
        if track.connection is not None and known.channel:
            # A client may have changed its app server.
            track.connection.server = track.server = _Named(known.server)
        track.since = known.since
        track.live_since = known.live_since + shift
        track.confirmed = known.confirmed + shift
        if known.data is not None:
            track.data = known.data

    def _begin(self, known: wire.Known) -> Track[_Ghost]:
        ghost, recovery = self._ghost(known), self.recovery
        for group in known.groups:
            self._directory.rooms.join(ghost, group)
        track = recovery.begin(ghost, known.namespace, known.sid, known.pid, known.lasts)
        self._privates[track.private] = track.pid
        if known.parked:
            self._away(known.connection)
        return track

    def _ghost(self, known: wire.Known) -> _Ghost:
        ghost = self._ghosts.get(known.connection)
        if ghost is None:
            ghost = self._ghosts[known.connection] = _Ghost(known)
            self._directory.add(ghost)
        return ghost

    def _away(self, connection: str) -> None:
        ghost = self._ghosts.pop(connection, None)
        if ghost is not None and ghost.tracks is not None:
            self.recovery.park(ghost)
            self._directory.remove(ghost)

    def _steps(self, entry: wire.Steps) -> None:
        if entry.over:
            self._sendings.pop(entry.position, None)
        else:
            made = self._sendings[entry.position] = self.recovery.sending(entry.to)
            made.position = entry.position

    def settle(self, now: float) -> None:
        """The node is lost: all its clients are away."""
        self.recovery.now = now
        self._stored = self.recovery.log.position
        # Emits of others may come in another order than their numbers: large ones are sent on at their end.
        self.executed = {source: self._done[source] for source in self.instances & self._done.keys()}
        self._times.clear()
        for connection in list(self._ghosts):
            self._away(connection)
        self._sendings.clear()

    # -- what app servers hand over ------------------------------------------------------------------

    def is_news(self, session: str, batch: int, place: int) -> bool:
        """True if a frame of a session was not carried out at the lost node."""
        return (batch, place) >= self.taken.get(session, (0, 0))

    def submit(self, command: Send | Change) -> Collection[str]:
        """Carry out a command for the parked sockets. Returns the `pid`s of those that it concerns, unless it
        is an emit."""
        recovery: Recovery[Any] = self.recovery
        if isinstance(command, Send):
            if self._is_new(command):
                recorded(recovery, command)
            return ()
        return apply(recovery, command)

    def _is_new(self, emit: Send) -> bool:
        if not emit.source:
            return True
        if emit.source in self.instances:
            return emit.number > self._done.get(emit.source, 0)
        identity = emit.source, emit.number
        known = identity in self._seen
        self._seen.add(identity)
        return not known

    def meet(self, carried_out: Collection[tuple[str, int]]) -> None:
        """Everything is handed over. The heir has carried out these emits since it has the sockets."""
        self.twice = frozenset(self._seen.intersection(carried_out))

    def sockets(self, number: int) -> list[Track[_Ghost]]:
        """The sockets that an app server knows, or knew, by this number of a client."""
        return [
            track for track in map(self.recovery.find, self._clients.get(number, ())) if track is not None
        ]

    def private_rooms(self) -> dict[int, tuple[str, ...]]:
        """The private rooms of these sockets, by the number."""
        return {number: tuple([each.private for each in self.sockets(number)]) for number in self._clients}

    def packet(self, connection: str, payload: bytes) -> None:
        """An app server's packets for one client."""
        self.recovery.crossed(_Named(connection), payload)  # type: ignore[arg-type]

    def has(self, pid: str) -> bool:
        """True if the socket may still be recovered."""
        return self.recovery.find(pid) is not None

    # -- what a client has missed --------------------------------------------------------------------

    def after(self, pid: str, offset: str | None, *, whole: bool) -> int | None:
        """The position from which on a client has missed events; None for an offset that it cannot have.
        `whole`: of everything that any client could lack."""
        track = self.recovery.find(pid)
        if track is None:
            return None
        if whole:
            return start_of(self.recovery.log, track)
        place = None if offset is None else parse_offset(offset)
        if place is not None and place.epoch == self.epoch and place.position > self._stored:
            return None
        return position_of(self.recovery.log, track, offset)

    def since(self, pid: str) -> int:
        """The position up to which the client has certainly had everything."""
        track = self.recovery.find(pid)
        return 0 if track is None else track.since

    def missed(self, pid: str, after: int) -> list[Entry] | None:
        """The events that the client has missed. None if some of them are not kept."""
        track = self.recovery.find(pid)
        return None if track is None else missed_by(self.recovery.log, track, after)

    def segments(self, pid: str, after: int, found: Collection[Entry]) -> list[Segment]:
        """`found`, which is what any client could lack, by the logs that its offset may be of: this one, and
        those of the nodes that the socket had come from."""
        log, track = self.recovery.log, self.recovery.find(pid)
        carried = None if track is None else track.carried
        parts: list[Segment] = []
        first = after
        if track is not None and carried is not None and after <= carried.end:
            parts, first = carried.segments(after, None, track.unacked), carried.end
        own = [entry for entry in found if entry.position > first]
        return [*parts, Segment(log.epoch, first, log.position, missed(own))]


_NO_CONNECT: Any = None
"""Stands in place of the client's CONNECT packet, which a journal does not hold."""


def written_once_more(
    found: Pages, settings_of: Callable[[str], RecoverySettings], now: float
) -> Job[list[HubEstate]]:
    """Carry out what a journal tells, in steps, as if its last page had been written now. Raises `PeerError`
    for entries that cannot be read."""
    shift = now - found.last_now
    estates: dict[str, HubEstate] = {}
    for place, entry in enumerate(found.entries()):
        estate = estates.get(entry.epoch)
        # The first entry of a log names its hub.
        if estate is None and isinstance(entry, wire.Linked):
            settings = settings_of(entry.hub)
            estate = HubEstate(entry.hub, entry.epoch, settings, now, is_cut=found.is_cut)
            estates[entry.epoch] = estate
        if estate is not None:
            estate.take(entry, shift)
        if place % STEP_ENTRIES == 0:
            yield False
    for estate in estates.values():
        estate.settle(now)
    return list(estates.values())
