"""What is sent in a hub with recovery: each event is recorded, and gets its offset."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import partial
from typing import Generic
from weakref import WeakSet

from moorage.hub.journal.scribe import Scribe
from moorage.hub.recovery.sockets.away import Away
from moorage.hub.recovery.sockets.log import DeliveryLog, Entry
from moorage.hub.recovery.sockets.replay import EVERYONE, USER
from moorage.hub.recovery.sockets.sending import Sending
from moorage.hub.recovery.sockets.track import Track
from moorage.hub.recovery.sockets.tracked import ConnectionT
from moorage.hub.rooms import Directory
from moorage.wire.commands import Selection
from moorage.wire.engineio import RS
from moorage.wire.groups import namespace_group
from moorage.wire.recovery.offsets import parts_of, with_offset


class Recording(Generic[ConnectionT]):
    """The log of one hub. `directory` has the connections, `away` the sockets whose clients are away. `now`
    is in seconds."""

    def __init__(self, log: DeliveryLog, directory: Directory[ConnectionT], now: float) -> None:
        self.log = log
        self.now = now
        """The time of the last tick."""
        self.scribe: Scribe | None = None
        """Writes everything down, if the node has a journal."""
        self.away: Away[ConnectionT] = Away()
        self._directory = directory
        self._sendings: WeakSet[Sending] = WeakSet()
        """A job that is given up takes its emit along."""
        self._latest = b""

    def send(
        self, to: Selection, payload: bytes, *, volatile: bool = False, source: str = "", number: int = 0
    ) -> bytes:
        """An emit is carried out: record its events. Returns the payload with their offsets."""
        log, self._latest = self.log, payload
        sent = []
        for part in parts_of(payload):
            packets = part.packets
            if part.namespace and part.ack_id is None:
                if volatile:
                    packets = log.stamp(packets)
                elif keys := self._keys(to, part.namespace):
                    packets = with_offset(packets, log.next())
                    entry = Entry(
                        log.position, self.now, part.namespace, packets, to, source=source, number=number
                    )
                    log.add(entry, keys)
                    if self.scribe is not None:
                        self.scribe.event(entry, keys)
            sent.append(packets)
        return RS.join(sent)

    def sending(self, to: Selection) -> Sending:
        """The latest emit is going to be delivered in steps."""
        stamp = partial(self.send, to, self._latest, volatile=True)
        sending = Sending(to, self.log.position, stamp)
        self._sendings.add(sending)
        if self.scribe is not None:
            self.scribe.steps(sending)
        return sending

    def asking(self, to: Selection, payload: bytes) -> Sending:
        """The event that `ask` has recorded is going to be delivered in steps."""
        sending = Sending(to, self.log.position, lambda: payload)
        self._sendings.add(sending)
        return sending

    def ask(self, to: Selection, namespace: str, payload: bytes, ack_id: int) -> None:
        """Record an event with one ack id for all. Nobody waits for the acks of clients that come back,
        so these may get it again."""
        if keys := self._keys(to, namespace):
            self.log.next()
            entry = Entry(self.log.position, self.now, namespace, payload, to, ack_id=ack_id)
            self.log.add(entry, keys)
            if self.scribe is not None:
                self.scribe.event(entry, keys)

    def _keys(self, to: Selection, namespace: str) -> Collection[str]:
        """The lanes of a selection. None if no socket that may be recovered is selected."""
        if to.connection is not None:
            found = self._track_of(to.connection, namespace_group(namespace))
            return () if found is None else (found.private,)
        if to.group is not None:
            return (to.group,) if self._has_members(to.group) else ()
        if to.user is not None:
            there = self._directory.of_user(to.user) or self.away.of_user(to.user)
            return (USER + to.user,) if there else ()
        if to.filter is not None and to.filter.any_of is not None:
            return [group for group in to.filter.any_of if self._has_members(group)]
        return (EVERYONE,)

    def _has_members(self, group: str) -> bool:
        return bool(self._directory.rooms.members(group) or self.away.rooms.members(group))

    def _track_of(self, connection: str, prefix: str) -> Track[ConnectionT] | None:
        found = self._directory.connections.get(connection)
        if found is not None:
            return found.tracks.get(prefix) if found.tracks is not None else None
        for track in self.away.of(connection):
            if track.prefix == prefix:
                return track
        return None

    def direct(self, connection: ConnectionT, payload: bytes) -> bytes:
        """An app server sends to one of its clients: record the events of recoverable sockets. Returns what
        the client gets now, with offsets: nothing for a socket that is only being recovered."""
        assert connection.tracks is not None
        return self._direct(connection.tracks, payload)

    def crossed(self, connection: ConnectionT, payload: bytes) -> None:
        """An app server has sent to a client before it knew that the connection has ended."""
        self._direct({track.prefix: track for track in self.away.of(connection.id)}, payload)

    def _direct(self, tracks: Mapping[str, Track[ConnectionT]], payload: bytes) -> bytes:
        log, sent = self.log, []
        for part in parts_of(payload):
            packets = part.packets
            track = tracks.get(namespace_group(part.namespace)) if part.namespace else None
            if track is not None:
                offset = log.next()
                if part.ack_id is None:
                    packets = with_offset(packets, offset)
                entry = Entry(log.position, self.now, part.namespace, packets, None, ack_id=part.ack_id)
                log.add(entry, (track.private,), private=True)
                if self.scribe is not None:
                    self.scribe.event(entry, (track.private,))
                if part.ack_id is not None:
                    track.wait_for_ack(part.ack_id, entry, log.settings.recovery_session_events)
                if track.connection is None:
                    continue
            sent.append(packets)
        return RS.join(sent)
