"""What a socket has brought along from other nodes: the events that it had missed there, and which emits were
carried out there. Its events have positions of this node's log, which were kept free for them, so a client's
place in all of them is one number."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from moorage.hub.recovery.sockets.log import Entry
from moorage.wire.recovery.moving import Missed, Segment
from moorage.wire.recovery.offsets import Offset


class Carried:
    """The events of `namespace` at the positions of this node's log after `base` and up to `end`, which is
    where the log goes on. `now` is the time of the arrival."""

    def __init__(self, base: int, end: int, namespace: str, now: float) -> None:
        self.base = base
        self.end = end
        self.whole = False
        """True if a client without an offset may get all events."""
        self.dropped = False
        """True if some events are not kept."""
        self.entries: list[Entry] = []
        self.namespace = namespace
        self.now = now
        self._segments: tuple[Segment, ...] = ()
        self._executed: Mapping[str, int] = {}
        self._seen: frozenset[tuple[str, int]] = frozenset()

    @property
    def parts(self) -> tuple[tuple[Segment, ...], dict[str, int], tuple[tuple[str, int], ...]]:
        """The values it was filled with, except `whole`."""
        return self._segments, dict(self._executed), tuple(self._seen)

    @property
    def is_known(self) -> bool:
        """False if nobody can tell any more what the client lacks: the socket was at a lost node, its client
        did not come back to the heir, and that one is lost, too."""
        return bool(self._segments)

    def prepare(self, offset: str | None, *, whole: bool = False) -> None:
        """A client comes back with this offset, or (`whole`) the socket moves on before one comes."""

    def looked_up(self) -> Carried:
        """The client is back, so it is known what it lacked: this, and nothing from before."""
        return self

    def fill(
        self,
        segments: tuple[Segment, ...],
        executed: Mapping[str, int],
        seen: Iterable[tuple[str, int]],
        *,
        whole: bool,
    ) -> None:
        """The socket has arrived."""
        self._segments, self._executed, self._seen, self.whole = segments, executed, frozenset(seen), whole
        position = self.base
        for segment in segments:
            for event in segment.events:
                position += 1
                ack_id = event.ack - 1 if event.ack else None
                self.entries.append(
                    Entry(position, self.now, self.namespace, event.payload, None, ack_id=ack_id)
                )

    def settled(self, position: int, epoch: str) -> Carried:
        """What is left of it when the client has certainly had everything up to a position of this node's
        log, `epoch`: that its offset may still be an old one."""
        made = Carried(position, position, self.namespace, self.now)
        former = [Segment(segment.epoch, segment.first, segment.last, ()) for segment in self._segments]
        made.fill((*former, Segment(epoch, self.end, position, ())), {}, (), whole=self.whole)
        return made

    def has_seen(self, entry: Entry) -> bool:
        """True if the emit was carried out at the node that the socket came from."""
        source, number = entry.source, entry.number
        if not source:
            return False
        return number <= self._executed.get(source, 0) or (source, number) in self._seen

    def position_of(self, offset: Offset) -> int | None:
        """The position in this node's log for an offset of another one. None if it is unknown, or if events
        behind it are not kept."""
        position = self.base
        for segment in self._segments:
            if contains(segment, offset):
                return position + sum([event.position <= offset.position for event in segment.events])
            position += len(segment.events)
        return None

    def after(self, position: int, unacked: Mapping[int, Entry]) -> list[Entry]:
        """The events after a position. Of those with an ack id, the ones that nobody has acknowledged."""
        return [
            entry
            for entry in self.entries
            if entry.position > position and (entry.ack_id is None or unacked.get(entry.ack_id) is entry)
        ]

    def segments(self, position: int, offset: Offset | None, unacked: Mapping[int, Entry]) -> list[Segment]:
        """What another node needs of it. `position` and `offset` are where the client is, if that is known.
        It may come with the same offset again, or with that of an event that it gets now."""
        found, start = [], self.base
        for segment in self._segments:
            entries = self.entries[start - self.base : start - self.base + len(segment.events)]
            kept = tuple(
                Missed(event.position, entry.payload, _ack(entry))
                for event, entry in zip(segment.events, entries, strict=True)
                if entry.position > position and (entry.ack_id is None or unacked.get(entry.ack_id) is entry)
            )
            if kept or offset is None or contains(segment, offset):
                had = segment.events[: max(0, position - start)]
                first = had[-1].position if had else segment.first
                found.append(Segment(segment.epoch, first, segment.last, kept))
            start += len(entries)
        return found


def contains(segment: Segment, offset: Offset) -> bool:
    """True if the offset is in this part of a log."""
    return segment.epoch == offset.epoch and segment.first <= offset.position <= segment.last


def missed(entries: Collection[Entry]) -> tuple[Missed, ...]:
    """Events of this node's log, for another node."""
    return tuple(Missed(entry.position, entry.payload, _ack(entry)) for entry in entries)


def _ack(entry: Entry) -> int:
    return 0 if entry.ack_id is None else entry.ack_id + 1
