"""Writes what happens in the delivery log of one hub into the node's journal."""

from __future__ import annotations

import weakref
from collections.abc import Collection, Mapping
from typing import Any, Final

from moorage.hub.journal.journal import Journal
from moorage.hub.recovery.sockets.carried import Carried
from moorage.hub.recovery.sockets.log import Entry
from moorage.hub.recovery.sockets.sending import Sending
from moorage.hub.recovery.sockets.track import Track
from moorage.wire.groups import prefix_of
from moorage.wire.recovery import journal as wire

REPEAT_SECONDS: Final = 30.0
"""Maximum seconds between two descriptions of a socket."""
AT_ONCE: Final = 500
"""Maximum number of sockets that are described in one tick, unless time is short."""


class Scribe:
    """The hub's part of the journal. `now` and `position` come from the caller."""

    def __init__(self, journal: Journal, hub: str, epoch: str) -> None:
        self._journal = journal
        self._hub = hub
        self._epoch = epoch
        self._sessions: dict[str, int] = {}
        """Number of sessions, by the instance of the app server."""
        self._round: list[str] = []
        """The `pid`s of sockets that are still to be described in this round."""
        self._round_end = 0.0

    # -- app servers ------------------------------------------------------------------------------

    def linked(self, instance: str) -> None:
        """An app server has a session."""
        self._sessions[instance] = self._sessions.get(instance, 0) + 1
        self._journal.add(wire.Linked(self._epoch, self._hub, instance, up=True))

    def unlinked(self, instance: str) -> None:
        """A session is over."""
        left = self._sessions.pop(instance, 1) - 1
        if left:
            self._sessions[instance] = left
        else:
            self._journal.add(wire.Linked(self._epoch, self._hub, instance, up=False))

    def taken(self, session: str, batch: int, place: int) -> None:
        """Frames of a session are carried out (`wire.recovery.journal.Taken`)."""
        self._journal.add(wire.Taken(self._epoch, session, batch, place))

    # -- sockets ----------------------------------------------------------------------------------

    def begun(self, track: Track[Any], position: int, now: float, margin: float) -> None:
        """A new socket."""
        self._describe(track, position, now, margin, new=True)

    def arrived(self, track: Track[Any], position: int, now: float, margin: float) -> None:
        """A socket has come from another node."""
        self._describe(track, position, now, margin, new=True)
        self._moved(track)

    def back(self, track: Track[Any], position: int, now: float, margin: float) -> None:
        """The client of a parked socket is back."""
        self._describe(track, position, now, margin, back=True)
        self._moved(track)

    def served(self, track: Track[Any], position: int, now: float, margin: float, number: int) -> None:
        """Another app server serves the socket: by this number, which the connection may not have yet."""
        self._describe(track, position, now, margin, number=number)

    def _moved(self, track: Track[Any]) -> None:
        if track.carried is not None:
            self.moved(track, track.carried)

    def moved(self, track: Track[Any], carried: Carried) -> None:
        """What a socket has brought along from other nodes."""
        segments, executed, seen = carried.parts
        self._journal.add(
            wire.Moved(
                self._epoch,
                track.pid,
                carried.base,
                carried.end,
                segments,
                carried.whole,
                executed,
                seen,
            )
        )

    def _describe(
        self,
        track: Track[Any],
        position: int,
        now: float,
        margin: float,
        *,
        new: bool = False,
        back: bool = False,
        number: int = 0,
    ) -> None:
        if track.incomplete:
            return
        connection = track.connection
        groups: Collection[str] = track.groups if connection is None else connection.groups
        channel = number or (None if connection is None else connection.channel)
        self._journal.add(
            wire.Known(
                self._epoch,
                position,
                now,
                track.pid,
                track.id,
                channel if isinstance(channel, int) else 0,
                track.namespace,
                track.sid,
                track.user_id,
                track.server.id,
                track.lasts,
                track.since,
                track.live_since,
                track.confirmed,
                tuple([group for group in groups if prefix_of(group) in ("", track.prefix)]),
                new,
                back,
                connection is None,
                track.data if connection is None else None,
                margin,
            )
        )

    def away(self, connection: str, now: float) -> None:
        """The client of a connection is away."""
        self._journal.add(wire.Away(self._epoch, now, connection))

    def saved(self, track: Track[Any]) -> None:
        """The data of a parked socket is here."""
        self._journal.add(wire.Saved(self._epoch, track.pid, track.data or b""))

    def ended(self, track: Track[Any]) -> None:
        """A socket cannot be recovered any more."""
        self._journal.add(wire.Ended(self._epoch, track.pid))

    def changed(self, track: Track[Any], position: int, now: float, group: str, *, joined: bool) -> None:
        """A socket joins or leaves a group."""
        self._journal.add(wire.Changed(self._epoch, position, now, track.pid, group, joined))

    # -- what is sent -------------------------------------------------------------------------------

    def event(self, entry: Entry, keys: Collection[str]) -> None:
        """An event was recorded."""
        self._journal.add(
            wire.Event(
                self._epoch,
                entry.position,
                entry.time,
                entry.namespace,
                entry.payload,
                tuple(keys),
                entry.to,
                entry.source,
                entry.number,
                0 if entry.ack_id is None else entry.ack_id + 1,
            )
        )

    def acked(self, track: Track[Any], ack_id: int) -> None:
        """The client has acknowledged an event."""
        self._journal.add(wire.Acked(self._epoch, track.pid, ack_id))

    def steps(self, sending: Sending) -> None:
        """A large emit begins to be delivered in steps."""
        position, to = sending.position, sending.to
        self._journal.add(wire.Steps(self._epoch, position, to, over=False))
        over = wire.Steps(self._epoch, position, to, over=True)
        # Its job ends when the last step is done, or when the job is dropped.
        weakref.finalize(sending, self._journal.add, over).atexit = False

    # -- time ---------------------------------------------------------------------------------------

    def tick(self, tracks: Mapping[str, Track[Any]], position: int, now: float, margin: float) -> None:
        """Time passes: all sockets are described again, some in each tick."""
        if not self._round:
            if now < self._round_end:
                return
            self.sessions()
            self._round, self._round_end = list(tracks), now + REPEAT_SECONDS
        many = max(AT_ONCE, round(len(self._round) / max(1.0, self._round_end - now)))
        for pid in self._round[-many:]:
            track = tracks.get(pid)
            if track is not None:
                self._describe(track, position, now, margin)
                if track.carried is not None and not track.carried.entries and track.connection is not None:
                    self._moved(track)
        del self._round[-many:]

    def sessions(self) -> None:
        """Describe all app servers again."""
        for instance in self._sessions:
            self._journal.add(wire.Linked(self._epoch, self._hub, instance, up=True))

    def again(self, tracks: Mapping[str, Track[Any]], position: int, now: float, margin: float) -> None:
        """Describe everything that there is: what was written before is of no use."""
        self.sessions()
        for track in tracks.values():
            self._describe(track, position, now, margin)
            self._moved(track)
