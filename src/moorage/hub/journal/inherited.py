"""What a socket has missed at a node that is lost. It is looked up when a client comes back, because then it
is known from where on."""

from __future__ import annotations

from moorage.hub.journal.estate import HubEstate
from moorage.hub.recovery.sockets.carried import Carried, missed
from moorage.hub.recovery.sockets.log import Entry
from moorage.wire.recovery.moving import Segment
from moorage.wire.recovery.offsets import parse_offset


class Inherited(Carried):
    """`Carried`, for the socket `pid` of an estate."""

    def __init__(self, like: Carried, estate: HubEstate, pid: str, unacked: dict[int, Entry]) -> None:
        super().__init__(like.base, like.end, like.namespace, like.now)
        self._estate = estate
        self._pid = pid
        self._unacked = unacked
        """Events with an ack id that the client has not acknowledged, of the socket here."""

    def looked_up(self) -> Carried:
        """`Carried.looked_up`. The lost node's log is not needed any more."""
        made = Carried(self.base, self.end, self.namespace, self.now)
        segments, executed, seen = self.parts
        made.fill(segments, executed, seen, whole=self.whole)
        made.entries, made.dropped = self.entries, self.dropped
        return made

    def everything(self) -> Carried | None:
        """All that the client may lack, whatever it has got, so that it survives the loss of this node, too.
        None if some of it is not kept."""
        made = Inherited(self, self._estate, self._pid, {})
        made.prepare(None, whole=True)
        return made.looked_up() if made.is_known and not made.dropped else None

    def prepare(self, offset: str | None, *, whole: bool = False) -> None:
        """`Carried.prepare`."""
        estate = self._estate
        place = None if offset is None else parse_offset(offset)
        after = estate.after(self._pid, offset, whole=whole)
        if after is None:
            return
        found = estate.missed(self._pid, after)
        self.dropped = found is None
        own = place is not None and place.epoch == estate.epoch
        first = min(after, place.position) if own and place is not None else after
        if whole:
            segments = estate.segments(self._pid, after, found or ())
        else:
            events = missed(found or ())
            segments = [Segment(estate.epoch, first, estate.recovery.log.position, events)]
        if place is not None and not own:
            # The client has got nothing of the lost node's own log: all of it is behind its offset.
            segments.insert(0, Segment(place.epoch, place.position, place.position, ()))
        is_whole = offset is None and after == estate.since(self._pid)
        self.entries.clear()
        self.fill(tuple(segments), estate.executed, estate.twice, whole=is_whole)
        self._unacked.clear()
        self._unacked.update((entry.ack_id, entry) for entry in self.entries if entry.ack_id is not None)
