"""What a socket has missed at a node that is lost. It is looked up when a client comes back, because then it
is known from where on."""

from __future__ import annotations

from moorage.hub.journal.estate import HubEstate
from moorage.hub.recovery.carried import Carried, missed
from moorage.wire.recovery.moving import Segment
from moorage.wire.recovery.offsets import parse_offset


class Inherited(Carried):
    """`Carried`, for the socket `pid` of an estate."""

    def __init__(self, like: Carried, estate: HubEstate, pid: str) -> None:
        super().__init__(like.base, like.end, like.namespace, like.now)
        self._estate = estate
        self._pid = pid

    def prepare(self, offset: str | None, *, whole: bool = False) -> None:
        """`Carried.prepare`."""
        estate = self._estate
        place = None if offset is None else parse_offset(offset)
        if offset is not None and (place is None or place.epoch != estate.epoch):
            return
        after = estate.after(self._pid, offset, whole=whole)
        if after is None:
            return
        found = estate.missed(self._pid, after)
        self.dropped = found is None
        first = after if place is None else min(after, place.position)
        segment = Segment(estate.epoch, first, estate.recovery.log.position, missed(found or ()))
        is_whole = offset is None and after == estate.since(self._pid)
        self.entries.clear()
        self.fill((segment,), estate.executed, (), whole=is_whole)
