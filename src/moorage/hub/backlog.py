"""Memory of data that clients have not read yet, and which clients are closed because of it.

Nearly every queue is a few bytes for one loop tick; these are not counted. A queue of more than `UNCOUNTED`
bytes is part of `Backlog.total` until its client has taken it. Three rules close a client with the reason
`slow-client`:

- more than `outbox_bytes` are queued for it, and it has read nothing for `slow_after`;
- more than `outbox_hard_bytes` are queued for it, and they are not one single emit;
- more than `outbox_total_bytes` are queued for all clients: the clients that have read nothing for the
  longest time are closed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Generic, Protocol, TypeVar

from moorage.hub.ports import ClientSink
from moorage.hub.settings import Limits

UNCOUNTED: Final = 64 * 1024
"""A queue of at most this many bytes is not counted."""
ENTRY_BYTES: Final = 8
"""Memory of one entry in a queue, without the bytes that clients share."""
LOOK_SECONDS: Final = 1.0
"""Shortest time between two checks of whether clients have read."""
RELIEF: Final = 0.9
"""When `outbox_total_bytes` is exceeded, clients are closed until the total is this fraction of it. With 1.0,
every further emit would sort all clients again and close one more."""


class Owner(Protocol):
    """The client of an outbox: a `Connection`."""

    held: int

    def on_websocket(self) -> None:
        """The outbox writes to a WebSocket from now on."""


OwnerT = TypeVar("OwnerT", bound=Owner)


class Queue(Protocol[OwnerT]):
    """One client's queue (`hub.outbox.Outbox`)."""

    owner: OwnerT | None
    sink: ClientSink | None
    ready: bool
    size: int
    limit: int

    @property
    def last(self) -> bytes:
        """The newest entry."""

    @property
    def count(self) -> int:
        """The number of entries."""

    def flush(self) -> None:
        """Write what is queued, as much as the sink takes."""

    def spill(self) -> None:
        """Release what is queued. The owner is about to be closed."""


def _nobody(owner: object, entry: bytes) -> None:
    """No client is traced."""


class Holding:
    """One client's share of the memory, in bytes."""

    __slots__ = ("given", "progress", "queued", "read_at")

    def __init__(self, now: float) -> None:
        self.queued = 0
        """In the outbox."""
        self.given = 0
        """Given to the transport, which has not sent all of it."""
        self.progress = -1
        """`ClientSink.progress` at the last look; -1 before the first."""
        self.read_at = now
        """When the client was last seen to read."""


class Backlog(Generic[OwnerT]):
    """The holdings of all clients. `slow` is called with each client to be closed, and the cause."""

    def __init__(
        self,
        limits: Limits,
        slow: Callable[[OwnerT, str], None],
        flush: Callable[[Queue[OwnerT]], None],
        wake: Callable[[], None],
        now: float,
    ) -> None:
        self.limits = limits
        self.total = 0
        """Bytes held for all clients. The bytes of one emit are split evenly among its recipients."""
        self.alarmed = False
        """True if clients must be closed at the next flush. A close at once could change a room while an emit
        iterates over its members."""
        self.uncounted = min(UNCOUNTED, limits.outbox_bytes)
        self.tapped: Callable[[OwnerT, bytes], object] = _nobody
        """Called with each entry for a client that is traced."""
        self._slow = slow
        self._flush = flush
        self._wake = wake
        self._now = now
        self._looked = now
        self._holdings: dict[Queue[OwnerT], Holding] = {}
        self._condemned: list[tuple[Queue[OwnerT], str]] = []

    # -- called by outboxes -----------------------------------------------------------------------

    def grown(self, box: Queue[OwnerT], size: int) -> None:
        """A large queue, or that of a client that is traced, has grown by one entry; `size` is the client's
        share of its bytes."""
        if not box.limit and box.owner is not None:
            self.tapped(box.owner, box.last)
        if box.size <= self.uncounted:
            return
        holding = self._holdings.get(box)
        if holding is None:
            holding = self._holdings[box] = Holding(self._now)
        cost = size + ENTRY_BYTES
        holding.queued += cost
        self.total += cost
        if self.total > self.limits.outbox_total_bytes:
            self._alarm()
        if box.size > self.limits.outbox_hard_bytes:
            # The client may read well, and all of this was emitted within one loop tick.
            self._flush(box)
            if box.limit >= 0 and box.size > self.limits.outbox_hard_bytes and box.count > 1:
                self._condemn(box, f"over limits.outbox_hard_bytes, {self.limits.outbox_hard_bytes}")

    def written(self, box: Queue[OwnerT], before: int) -> None:
        """Some or all of a large queue, which had `before` bytes, was written to the sink."""
        holding = self._holdings.get(box)
        if holding is None:
            return
        given = holding.queued * (before - box.size) // before
        holding.queued -= given
        self.total -= holding.given
        holding.given = 0
        if box.ready:
            # The kernel has taken it.
            self.total -= given
        else:
            holding.given = given
        if box.size <= self.uncounted:
            self.total -= holding.queued
            holding.queued = 0
        self._forget_empty(box, holding)

    def taken(self, box: Queue[OwnerT]) -> None:
        """The sink has sent all that it was given, and takes more."""
        holding = self._holdings.get(box)
        if holding is not None:
            self.total -= holding.given
            holding.given = 0
            holding.read_at = self._now
            self._forget_empty(box, holding)

    def _forget_empty(self, box: Queue[OwnerT], holding: Holding) -> None:
        if not holding.queued and not holding.given:
            self.forget(box)

    def forget(self, box: Queue[OwnerT]) -> None:
        """Nothing is queued for this client any more."""
        holding = self._holdings.pop(box, None)
        if holding is not None:
            self.total -= holding.queued + holding.given

    # -- verdicts ---------------------------------------------------------------------------------

    def _condemn(self, box: Queue[OwnerT], why: str) -> None:
        box.spill()
        self._condemned.append((box, why))
        self._alarm()

    def _alarm(self) -> None:
        self.alarmed = True
        self._wake()

    def settle(self) -> None:
        """Close the clients that must be closed. Called at the end of a flush."""
        self.alarmed = False
        condemned, self._condemned = self._condemned, []
        for box, why in condemned:
            if box.owner is not None:
                self._slow(box.owner, why)
        if self.total > self.limits.outbox_total_bytes:
            self._relieve()

    def _relieve(self) -> None:
        why = f"the clients together hold limits.outbox_total_bytes, {self.limits.outbox_total_bytes}"
        enough = self.limits.outbox_total_bytes * RELIEF
        blocked = [(box, holding) for box, holding in self._holdings.items() if not box.ready]
        blocked.sort(key=lambda row: (row[1].read_at, -row[1].queued - row[1].given))
        for box, _ in blocked:
            if self.total <= enough:
                break
            if box.owner is not None:
                self._slow(box.owner, why)

    def tick(self, now: float) -> None:
        """Check which clients have read, and close those that have not for too long."""
        self._now = now
        if now - self._looked < min(LOOK_SECONDS, self.limits.slow_after / 4):
            return
        self._looked = now
        for box, holding in tuple(self._holdings.items()):
            self._look(box, holding, now)

    def _look(self, box: Queue[OwnerT], holding: Holding, now: float) -> None:
        if box.sink is None or box.owner is None:
            return
        progress = box.sink.progress()
        if progress != holding.progress:
            holding.progress = progress
            holding.read_at = now
        elif box.size > self.limits.outbox_bytes and now - holding.read_at >= self.limits.slow_after:
            self._slow(box.owner, f"nothing read for {now - holding.read_at:.1f} s")
