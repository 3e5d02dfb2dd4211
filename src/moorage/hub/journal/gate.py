"""What clients with recoverable sockets get leaves the node only when it is stored in the journal. Otherwise
a client could have an offset that no other node knows, and would get events twice after the loss of this one.

At the end of a turn the page is cut, and with it the outboxes: each entry that is queued until then leaves
when the page is stored, and later ones wait for the next page."""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import Protocol, TypeVar

from moorage.hub.backlog import Owner
from moorage.hub.journal.journal import Journal
from moorage.hub.outbox import URGENT, Flusher, Outbox


class Recoverable(Owner, Protocol):
    """A `Connection`."""

    @property
    def tracks(self) -> object | None:
        """Its sockets that may be recovered; None if it has had none."""


OwnerT = TypeVar("OwnerT", bound=Recoverable)


class GatedFlusher(Flusher[OwnerT]):
    """A flusher of a node with a journal."""

    journal: Journal | None = None

    def offer(self, box: Outbox[OwnerT]) -> None:
        """`Flusher.offer`."""
        if not self._closed or not _waits(box):
            super().offer(box)
        elif box._state != URGENT:
            box._state = URGENT
            self._urgent.append(box)
            self.wake()

    @property
    def _closed(self) -> bool:
        """True while something is not stored."""
        journal = self.journal
        return journal is not None and not journal.down and journal.pending

    def run(self) -> None:
        """`Flusher.run`."""
        journal = self.journal
        if journal is None or not self._closed:
            super().run()
            return
        held: list[Outbox[OwnerT]] = []
        others: list[Outbox[OwnerT]] = []
        for box in self._urgent:
            (held if _waits(box) else others).append(box)
        self._urgent = others
        if self._bulk:
            # Not in slices: they were cut together, so they are written together.
            bulk: deque[Outbox[OwnerT]] = deque()
            for box in self._bulk:
                if _waits(box):
                    box._state = URGENT
                    held.append(box)
                else:
                    bulk.append(box)
            self._bulk = bulk
        super().run()
        self._urgent = held + self._urgent
        if not journal.storing:
            cut = [(box, box.count) for box in held]
            self._urgent = self._urgent[len(held) :]
            journal.cut(partial(self._stored, cut))

    def _stored(self, cut: list[tuple[Outbox[OwnerT], int]]) -> None:
        for box, count in cut:
            if box.count <= count:
                # Usual: nothing was queued since.
                self.flush(box)
                continue
            waiting = box.take_all()
            box.put(waiting[:count])
            self.flush(box)
            box.put(box.take_all() + waiting[count:])
            box._state = URGENT
            self._urgent.append(box)
        self.run()


def _waits(box: Outbox[OwnerT]) -> bool:
    return box.owner is not None and bool(box.owner.tracks)
