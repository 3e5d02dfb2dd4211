"""What clients have not read yet: how much memory it takes, and which clients are closed for it.

Nearly every queue is a few bytes for the length of one loop tick, and nobody counts those. A queue of
more than `UNCOUNTED` bytes is counted here, in `Backlog.total`, until its client has taken it. Three
rules end a client with the reason `slow-client`:

- more than `outbox_bytes` wait for it, and it has read nothing for `slow_after`;
- more than `outbox_hard_bytes` wait for it, and that is not one single emit;
- all clients together hold more than `outbox_total_bytes`: then the ones go that have read nothing
  for the longest time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from moorage.hub.connection import Connection
    from moorage.hub.outbox import Outbox
    from moorage.hub.settings import Limits

UNCOUNTED: Final = 64 * 1024
"""Bytes queued for one client that are not worth counting."""
ENTRY_BYTES: Final = 8
"""Memory of one entry in a queue, beside the bytes that clients share."""
LOOK_SECONDS: Final = 1.0
"""How often clients are asked whether they have read, at most."""
RELIEF: Final = 0.9
"""When `outbox_total_bytes` is exceeded, clients are closed until their total is this part of it. If that
stopped at the limit itself, every further emit would sort all clients again, and close one more."""


class Holding:
    """One client's share of the memory, in bytes."""

    __slots__ = ("given", "progress", "queued", "read_at")

    def __init__(self, now: float) -> None:
        self.queued = 0
        """In the outbox."""
        self.given = 0
        """In the transport, which has not sent all of it."""
        self.progress = -1
        """`ClientSink.progress` at the last look; -1 before the first."""
        self.read_at = now
        """When the client was last seen to read."""


class Backlog:
    """All clients' holdings. `slow` is called with each client that is to be closed, and why."""

    def __init__(
        self,
        limits: Limits,
        slow: Callable[[Connection, str], None],
        flush: Callable[[Outbox], None],
        wake: Callable[[], None],
        now: float,
    ) -> None:
        self.limits = limits
        self.total = 0
        """Bytes held for all clients. What an emit to many costs is split evenly among them."""
        self.alarmed = False
        """Some clients must be closed at the next flush. Not earlier: an emit may be in the middle of a
        loop over the members of a room, which a close would change."""
        self.uncounted = min(UNCOUNTED, limits.outbox_bytes)
        self._slow = slow
        self._flush = flush
        self._wake = wake
        self._now = now
        self._looked = now
        self._holdings: dict[Outbox, Holding] = {}
        self._condemned: list[tuple[Outbox, str]] = []

    # -- what outboxes tell -----------------------------------------------------------------------

    def grown(self, box: Outbox, size: int) -> None:
        """A large queue has grown by one entry; `size` is the client's share of its bytes."""
        holding = self._holdings.get(box)
        if holding is None:
            holding = self._holdings[box] = Holding(self._now)
        cost = size + ENTRY_BYTES
        holding.queued += cost
        self.total += cost
        if self.total > self.limits.outbox_total_bytes:
            self._alarm()
        if box.size > self.limits.outbox_hard_bytes:
            # It may be that this client reads, and that all of this was emitted within one loop tick.
            self._flush(box)
            if box.limit >= 0 and box.size > self.limits.outbox_hard_bytes and not box.is_single:
                self._condemn(box, f"over limits.outbox_hard_bytes, {self.limits.outbox_hard_bytes}")

    def written(self, box: Outbox, before: int) -> None:
        """Some or all of a large queue, `before` bytes, was handed to the sink."""
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

    def taken(self, box: Outbox) -> None:
        """The sink has passed on all that it was given, and asks for more."""
        holding = self._holdings.get(box)
        if holding is not None:
            self.total -= holding.given
            holding.given = 0
            holding.read_at = self._now
            self._forget_empty(box, holding)

    def _forget_empty(self, box: Outbox, holding: Holding) -> None:
        if not holding.queued and not holding.given:
            self.forget(box)

    def forget(self, box: Outbox) -> None:
        """Nothing waits for this client any more."""
        holding = self._holdings.pop(box, None)
        if holding is not None:
            self.total -= holding.queued + holding.given

    # -- verdicts ---------------------------------------------------------------------------------

    def _condemn(self, box: Outbox, why: str) -> None:
        box.spill()
        self._condemned.append((box, why))
        self._alarm()

    def _alarm(self) -> None:
        self.alarmed = True
        self._wake()

    def settle(self) -> None:
        """At the end of a flush: close the clients that must be closed."""
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
        """Time passes: find out which clients read, and close those that do not."""
        self._now = now
        if now - self._looked < min(LOOK_SECONDS, self.limits.slow_after / 4):
            return
        self._looked = now
        for box, holding in tuple(self._holdings.items()):
            self._look(box, holding, now)

    def _look(self, box: Outbox, holding: Holding, now: float) -> None:
        if box.sink is None or box.owner is None:
            return
        progress = box.sink.progress()
        if progress != holding.progress:
            holding.progress = progress
            holding.read_at = now
        elif box.size > self.limits.outbox_bytes and now - holding.read_at >= self.limits.slow_after:
            self._slow(box.owner, f"nothing read for {now - holding.read_at:.1f} s")
