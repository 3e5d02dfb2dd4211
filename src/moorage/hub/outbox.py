"""What waits to be written to clients: bounded per client, one write per client and loop tick.

An emit only appends finished bytes to its recipients' outboxes. The flush at the end of the tick
joins what a client has and hands it over in one write. So 50 emits to a room cost each member one
system call, not 50, and order holds because a client has exactly one queue.

A large room is flushed in slices of `SLICE` clients (2-3 ms each), with the rest of the loop's
work between two slices; clients with small business go first. That keeps the latency of
everybody else flat while a broadcast to 50,000 is under way.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Final

from moorage.hub.ports import ClientSink, Schedule
from moorage.wire.engineio import RS, frames

if TYPE_CHECKING:
    from moorage.hub.connection import Connection
    from moorage.hub.fanout import Encoded

SLICE: Final = 400

_IDLE, _URGENT, _BULK = 0, 1, 2


class Outbox:
    """One client's queue. `size` counts the bytes in it."""

    __slots__ = ("_flusher", "_queue", "_state", "framed", "limit", "owner", "ready", "sink", "size")

    def __init__(self, owner: Connection, flusher: Flusher, limit: int) -> None:
        self.owner = owner
        self.sink: ClientSink | None = None
        self.framed = False
        self.ready = False
        """May be flushed: there is a sink and it takes data now."""
        self.size = 0
        self.limit = limit
        self._queue: list[bytes] = []
        self._flusher = flusher
        self._state = _IDLE

    def push(self, encoded: Encoded) -> None:
        """Queue an emit for this client."""
        data = encoded.frames if self.framed else encoded.payload
        self._queue.append(data)
        self.size += len(data)
        if self.size > self.limit:
            self._flusher.overflow(self)
        elif self.ready and self._state != _URGENT:
            self._state = _URGENT
            self._flusher.urgent(self)

    def push_later(self, data: bytes, into: list[Outbox]) -> None:
        """Queue one recipient's share of a large fan-out; `into` gathers who needs a flush."""
        self._queue.append(data)
        self.size += len(data)
        if self.size > self.limit:
            self._flusher.overflow(self)
        elif self.ready and self._state == _IDLE:
            self._state = _BULK
            into.append(self)

    def attach(self, sink: ClientSink, *, ready: bool) -> None:
        """Write to `sink` from now on. What waits is turned into its form, in order."""
        if sink.framed and not self.framed and self._queue:
            self._queue = [frames(RS.join(self._queue))]
            self.size = len(self._queue[0])
        self.framed = sink.framed
        self.sink = sink
        self.ready = ready
        if ready:
            self.flush()

    def unblock(self) -> None:
        """The sink takes data again."""
        self.ready = True
        self.flush()

    def flush(self) -> None:
        """Hand over all that waits, in one write."""
        self._state = _IDLE
        if not self.ready or self.sink is None or not self._queue:
            return
        data = self.take()
        self.sink.write(data)

    def take(self) -> bytes:
        """All that waits, joined; the queue is empty afterwards."""
        queue = self._queue
        if len(queue) == 1:
            data = queue[0]
        else:
            data = (b"" if self.framed else RS).join(queue)
        queue.clear()
        self.size = 0
        return data

    def spill(self) -> None:
        """Past the limit: let go of the bytes, now and for every push to come. The sink stays, to
        hear of the end, and so does `size`, for the log."""
        self._queue.clear()
        self.ready = False
        self.limit = -1

    def drop(self) -> None:
        """The end: nothing is kept from here on."""
        self.spill()
        self.size = 0
        self.sink = None


class Flusher:
    """Knows which outboxes have something to write, and when."""

    def __init__(self, schedule: Schedule, slow: Callable[[Connection], None]) -> None:
        self._schedule = schedule
        self._slow = slow
        self._urgent: list[Outbox] = []
        self._bulk: deque[Outbox] = deque()
        self._overflowed: list[Connection] = []
        self._scheduled = False

    def urgent(self, box: Outbox) -> None:
        """Flush `box` at the end of this tick."""
        self._urgent.append(box)
        self.wake()

    def bulk(self, boxes: Collection[Outbox]) -> None:
        """Flush `boxes` in slices, from the end of this tick on."""
        self._bulk.extend(boxes)
        self.wake()

    def overflow(self, box: Outbox) -> None:
        """`box` went past its limit. Its owner is closed at the flush, not here: the caller may be
        in the middle of a loop over the members that the close would change."""
        first = box.limit >= 0
        box.spill()
        if first:
            self._overflowed.append(box.owner)
            self.wake()

    def wake(self) -> None:
        """See to it that `run` is called at the end of this tick."""
        if not self._scheduled:
            self._scheduled = True
            self._schedule()

    def run(self) -> None:
        """One flush: all small business, one slice of the large."""
        self._scheduled = False
        if self._overflowed:
            slow, self._overflowed = self._overflowed, []
            for connection in slow:
                self._slow(connection)
        urgent, self._urgent = self._urgent, []
        for box in urgent:
            box.flush()
        if self._bulk:
            for _ in range(min(SLICE, len(self._bulk))):
                self._bulk.popleft().flush()
            if self._bulk:
                self.wake()
