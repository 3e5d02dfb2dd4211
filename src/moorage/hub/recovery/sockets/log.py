"""The delivery log of a hub: the emits of this node, in the order in which they were carried out, each with
a position. It is indexed by addressee: each group, user and private room has a *lane*. An emit costs the same
for any number of recipients.

What leaves the log, because it is old or a limit is reached, raises the *floor* of its lanes: a socket that
might need something at or below the floor is not recovered."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from itertools import chain
from typing import Final

import msgspec

from moorage.hub.recovery.counts import Counts
from moorage.hub.settings import RecoverySettings
from moorage.wire.commands import Selection
from moorage.wire.recovery.offsets import make_offset, with_offset

_FEW_DEAD: Final = 1_000
"""Maximum number of entries without a lane that may stay in the queue of all entries."""
_SWEEP: Final = 4
"""Number of entries that are checked for each new one while entries without a lane leave the queue. It is
more than one, so the check reaches the end."""
TRIM_AT_ONCE: Final = 2_000
"""Maximum number of entries, and of lanes, that one tick forgets: 3 ms of work."""


class Entry(msgspec.Struct, gc=False, eq=False):
    """An event in the log, with its offset. An event with an ack id has none.

    There may be a million of them. The garbage collector does not look at them, so they must not refer to
    anything that refers to them: a collection stopped the process for 40 to 100 ms otherwise."""

    position: int
    time: float
    namespace: str
    payload: bytes
    to: Selection | None
    """Its recipients; None for the packet of an app server to one of its own sockets."""
    source: str = ""
    number: int = 0
    """The number; together with `source` the identity of the emit (`Send`)."""
    ack_id: int | None = None
    lanes: tuple[str, ...] = ()
    """The keys of its lanes."""
    left: int = 0
    """Number of lanes that still hold it."""

    @property
    def size(self) -> int:
        """Bytes of its payload, while a lane holds it."""
        return len(self.payload)


class Lane:
    """The entries for one addressee."""

    __slots__ = ("bytes", "entries", "floor", "floor_time", "key", "max_bytes", "max_events", "queued")

    def __init__(self, key: str, max_bytes: int, max_events: int) -> None:
        self.key = key
        self.entries: deque[Entry] = deque()
        self.bytes = 0
        self.max_bytes = max_bytes
        self.max_events = max_events
        self.floor = 0
        """Position of the latest entry that has left."""
        self.floor_time = 0.0
        """When that entry was recorded."""
        self.queued = False
        """True if the log will check whether the lane can be forgotten."""


class DeliveryLog:
    """`position` counts the events of the hub."""

    def __init__(self, epoch: str, settings: RecoverySettings, counts: Counts) -> None:
        self.epoch = epoch
        self.settings = settings
        self.position = 0
        self.offset = make_offset(epoch, 0)
        """The offset of `position`."""
        self.bytes = self.events = 0
        """Number and bytes of the events that are kept now. An event for several lanes counts once."""
        self.retention = 0.0
        """Seconds that an entry is kept."""
        self._old = float("-inf")
        """Entries from before this time count as forgotten, though some may still be in their lanes."""
        self.floor = 0
        self.floor_time = 0.0
        """The highest floor of all lanes that were forgotten."""
        self._counts = counts
        self._lanes: dict[str, Lane] = {}
        self._swept: deque[Entry] = deque()
        self._all: deque[Entry] = deque()
        """All entries, the oldest first. Those of `_swept` come before."""
        self._dead = 0
        """Entries of both that no lane holds."""
        self._empty: deque[tuple[float, Lane]] = deque()
        """Lanes that have become empty, with the time."""

    def __len__(self) -> int:
        return len(self._lanes)

    def next(self) -> bytes:
        """Take the next position, and return its offset."""
        self.position += 1
        self.offset = offset = make_offset(self.epoch, self.position)
        return offset

    def skip(self, positions: int) -> None:
        """Keep positions free for events that come from another node."""
        self.position += positions
        self.offset = make_offset(self.epoch, self.position)

    def stamp(self, event: bytes) -> bytes:
        """The event with the current offset."""
        return with_offset(event, self.offset)

    def add(self, entry: Entry, keys: Iterable[str], *, private: bool = False) -> None:
        """Record an entry at the current position. `private`: its lane belongs to a single socket."""
        lanes, size = [], entry.size
        for key in keys:
            lane = self._lanes.get(key)
            if lane is None:
                lane = self._lanes[key] = self._new(key, private=private)
            lane.entries.append(entry)
            lane.bytes += size
            lanes.append(lane)
        entry.lanes = tuple(keys)
        entry.left = len(lanes)
        self._all.append(entry)
        self.bytes += size
        self.events += 1
        for _ in range(2):
            # Each new entry forgets up to two old ones, so forgetting keeps pace with any rate of emits, and
            # no step is large.
            if self._oldest.time < self._old:
                self._forget_oldest(entry.time)
        for lane in lanes:
            while lane.bytes > lane.max_bytes or len(lane.entries) > lane.max_events:
                self._drop(lane, entry.time)
        settings = self.settings
        while self.bytes > settings.recovery_hub_bytes or self.events > settings.recovery_hub_events:
            self._drop_oldest(entry.time)
        if self._swept or (self._dead > _FEW_DEAD and self._dead * 2 > len(self._all)):
            self._sweep()

    @property
    def _oldest(self) -> Entry:
        return self._swept[0] if self._swept else self._all[0]

    def _sweep(self) -> None:
        """Remove some of the entries that no lane holds."""
        left, swept = self._all, self._swept
        for _ in range(min(_SWEEP, len(left))):
            entry = left.popleft()
            if entry.left:
                swept.append(entry)
            else:
                self._dead -= 1
        if not left:
            self._all, self._swept = swept, left

    def _new(self, key: str, *, private: bool) -> Lane:
        settings = self.settings
        if private:
            return Lane(key, settings.recovery_session_bytes, settings.recovery_session_events)
        return Lane(key, settings.recovery_room_bytes, settings.recovery_room_events)

    def _drop(self, lane: Lane, now: float) -> None:
        """A limit of the lane is reached."""
        entry = lane.entries[0]
        self._leave(lane, entry, now)
        if not entry.left:
            self._counts.dropped += 1
            self._dead += 1

    def _drop_oldest(self, now: float) -> None:
        """A limit of the hub is reached."""
        if self._forget_oldest(now):
            self._counts.dropped += 1

    def _forget_oldest(self, now: float) -> bool:
        """Remove the oldest entry. Returns False if no lane held it any more."""
        entry = (self._swept or self._all).popleft()
        if not entry.left:
            self._dead -= 1
            return False
        for key in entry.lanes:
            lane = self._lanes.get(key)
            # Each lane is in order, so the oldest entry is at its beginning, or has left it.
            if lane is not None and lane.entries and lane.entries[0] is entry:
                self._leave(lane, entry, now)
        return True

    def _leave(self, lane: Lane, entry: Entry, now: float) -> None:
        lane.entries.popleft()
        lane.bytes -= entry.size
        lane.floor = entry.position
        lane.floor_time = entry.time
        entry.left -= 1
        if not entry.left:
            self.bytes -= entry.size
            self.events -= 1
            entry.payload = b""
        if not lane.entries and not lane.queued:
            lane.queued = True
            self._empty.append((now, lane))

    def trim(self, now: float) -> None:
        """Forget what is too old for any socket, and lanes that have been empty for as long, in steps."""
        old = self._old = now - self.retention
        for _ in range(TRIM_AT_ONCE):
            if not self.events or self._oldest.time >= old:
                break
            self._forget_oldest(now)
        for _ in range(TRIM_AT_ONCE):
            if not self._empty or self._empty[0][0] >= old:
                break
            _, lane = self._empty.popleft()
            lane.queued = False
            if lane.entries:
                continue
            if lane.floor_time >= old:
                lane.queued = True
                self._empty.append((now, lane))
                continue
            del self._lanes[lane.key]
            self.floor = max(self.floor, lane.floor)
            self.floor_time = max(self.floor_time, lane.floor_time)

    def shrink(self) -> bool:
        """Forget a part of a log that is not needed any more. Returns True if nothing is left."""
        for _ in range(TRIM_AT_ONCE):
            if not self.events:
                return True
            self._forget_oldest(self._oldest.time)
        return False

    def is_missing(self, key: str, after: int, confirmed: float) -> bool:
        """True if an entry of this lane has left that is later than the position `after`, and no earlier than
        the time `confirmed`."""
        if self.floor > after and self.floor_time >= confirmed:
            return True
        lane = self._lanes.get(key)
        return lane is not None and lane.floor > after and lane.floor_time >= confirmed

    def held(self, keys: Iterable[str]) -> tuple[int, int]:
        """Number of entries in these lanes, and their bytes."""
        lanes = [lane for key in keys if (lane := self._lanes.get(key)) is not None]
        return sum([len(lane.entries) for lane in lanes]), sum([lane.bytes for lane in lanes])

    def since(self, keys: Iterable[str], after: int) -> list[Entry]:
        """The entries of these lanes after a position, in order."""
        found: dict[int, Entry] = {}
        for key in keys:
            lane = self._lanes.get(key)
            if lane is not None:
                for entry in reversed(lane.entries):
                    if entry.position <= after or entry.time < self._old:
                        break
                    found[entry.position] = entry
        return [found[position] for position in sorted(found)]

    def identities(self, after: int) -> set[tuple[str, int]]:
        """The identities of all emits after a position."""
        found = set()
        for entry in chain(reversed(self._all), reversed(self._swept)):
            if entry.position <= after:
                break
            if entry.source:
                found.add((entry.source, entry.number))
        return found

    def later(self, keys: Iterable[str], time: float) -> list[Entry]:
        """The entries of these lanes that were recorded at this time or later."""
        found = []
        for key in keys:
            lane = self._lanes.get(key)
            if lane is not None:
                for entry in reversed(lane.entries):
                    if entry.time < time:
                        break
                    found.append(entry)
        return found

    def start(self, keys: Iterable[str], after: int, confirmed: float) -> int:
        """The first position, not before `after`, behind which nothing has left these lanes. The position is
        later if everything in between was recorded before the time `confirmed`."""
        after = max(after, self.floor)
        for key in keys:
            lane = self._lanes.get(key)
            if lane is not None:
                after = max(after, lane.floor)
        for key in keys:
            lane = self._lanes.get(key)
            if lane is not None:
                for entry in lane.entries:
                    if entry.time >= confirmed:
                        break
                    after = max(after, entry.position)
        return after
