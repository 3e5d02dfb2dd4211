"""The sockets of one hub that a lost node had, at its heir, until clients can come back to them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from moorage.hub.hub import Connection, Hub
from moorage.hub.journal.estate import HubEstate
from moorage.hub.journal.inherited import Inherited
from moorage.hub.journal.latecomers import Latecomers
from moorage.hub.recovery.commands import Change
from moorage.hub.recovery.sockets.state import Recovery
from moorage.hub.recovery.sockets.track import Track
from moorage.hub.turns import Job
from moorage.wire.commands import JoinGroups, LeaveGroups, Send

SocketTrack = Track[Connection]

MAX_REPEATED: Final = 8 * 1024 * 1024
"""Maximum bytes of missed events that are stored once more when a node is lost."""
STEP_SOCKETS: Final = 20
"""Number of sockets whose missed events are stored in one step."""
STEP_BYTES: Final = 128 * 1024
"""Bytes of missed events after which a step ends earlier."""


class _Named:
    """An app server of the lost node."""

    def __init__(self, server_id: str) -> None:
        self.id = server_id


class Share:
    """The sockets of one hub."""

    def __init__(self, hub: Hub, recovery: Recovery[Connection], estate: HubEstate) -> None:
        self.hub = hub
        self.estate = estate
        self.owing = set(estate.instances)
        """App servers that have not handed over."""
        self._late: set[str] = set()
        """App servers that are gone, or still away, and that the sockets do not wait for any more."""
        self._appeared: set[str] = set()
        """App servers that have come to this node meanwhile."""
        self._recovery = recovery
        self._begun = recovery.log.position
        self._tracks: dict[str, SocketTrack] = {}
        most = recovery.log.settings.recovery_session_events
        for old in estate.recovery.everyone():
            if old.carried is not None and not old.carried.is_known:
                # What its client lacks is in the log of a node that was lost before.
                continue
            here = recovery.find(old.pid)
            if here is not None:
                if not (isinstance(here.carried, Inherited) and not here.live_since):
                    # It has come from the lost node, which did not store that.
                    continue
                # A remainder of an earlier time, when the node was taken for lost, but was not.
                recovery.end(here)
            recovery.give_away(old.pid)
            if old.pid in recovery.away.connections:
                # It is just coming from another node.
                continue
            track: SocketTrack = Track(
                old.pid, old.namespace, old.sid, connection_id=old.id, user_id=old.user_id
            )
            track.server, track.lasts, track.data = _Named(old.server.id), old.lasts, old.data
            recovery.expect(track, tuple(old.groups), most)
            assert track.carried is not None
            track.carried = Inherited(track.carried, estate, old.pid, track.unacked)
            self._tracks[old.pid] = track

    def __len__(self) -> int:
        return len(self._tracks)

    def carry_out(self, command: Send | Change) -> None:
        """A command that the lost node may not have carried out."""
        selected = self.estate.submit(command)
        if isinstance(command, JoinGroups | LeaveGroups):
            for pid in selected:
                track, groups = self._tracks[pid], command.groups
                if groups is None:
                    groups = tuple(track.groups - {track.prefix, track.private})
                for group in groups:
                    self._recovery.change_parked(track, group, joined=isinstance(command, JoinGroups))
        elif selected:
            for pid in [pid for pid in self._tracks if not self.estate.has(pid)]:
                self._drop(pid)

    def _drop(self, pid: str) -> None:
        self._recovery.abandon(self._tracks.pop(pid))

    def appears(self, instance: str) -> bool:
        """An app server has a session at this node. True if the sockets have waited for it."""
        is_new = instance in self.owing and instance not in self._appeared
        self._appeared.add(instance)
        return is_new

    def may_hand_over(self, instance: str) -> bool:
        """True if an app server is there, at this node or at another one."""
        return any([server.instance == instance for server in self.hub.servers.serving()])

    def without(self, instances: Collection[str]) -> None:
        """Some app servers are gone, or still away: clients come back without them."""
        self._late.update(self.owing.intersection(instances))
        self.owing.difference_update(instances)

    def latecomers(self) -> Latecomers | None:
        """Those app servers, if what they may hand over is of interest."""
        if not self._late or not self._tracks:
            return None
        return Latecomers(self.hub, self.estate, self._late, self._tracks, begun=self._begun)

    def open(self) -> None:
        """Clients can come back."""
        self.estate.meet(self._recovery.log.identities(self._begun))
        for track in self._tracks.values():
            self._recovery.arrived(track)

    def repeat(self) -> Job[None]:
        """Write what the clients that are still away have missed into this node's journal, so that they lose
        nothing if this node is lost as well. Each event is written for each of its sockets, so this ends at
        `MAX_REPEATED`: what the other clients have missed is in the log of the lost node only."""
        total = step = 0
        for place, track in enumerate(tuple(self._tracks.values()), 1):
            size = self._repeat(track, MAX_REPEATED - total)
            total, step = total + size, step + size
            if total > MAX_REPEATED:
                return
            if place % STEP_SOCKETS == 0 or step > STEP_BYTES:
                step = 0
                yield False

    def _repeat(self, track: SocketTrack, room: int) -> int:
        scribe, carried = self._recovery.scribe, track.carried
        is_here = self._recovery.find(track.pid) is track and track.connection is None
        if scribe is None or not is_here or not isinstance(carried, Inherited):
            return 0
        everything = carried.everything()
        if everything is None:
            return 0
        size = sum([entry.size for entry in everything.entries])
        if size <= room:
            scribe.moved(track, everything)
        return size

    def drop(self, pid: str) -> None:
        """A socket comes from another node."""
        if pid in self._tracks:
            self._drop(pid)

    def close(self) -> None:
        """Clients cannot come back."""
        for pid in tuple(self._tracks):
            self._drop(pid)
