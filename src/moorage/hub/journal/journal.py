"""The journal of a node. Entries are gathered in pages; one page at a time is stored. What has happened
because of an entry leaves the node only when its page is stored: packets for clients (`gate`), and
acknowledgements for app servers (`after`).

When a page cannot be stored, the journal is *down*: entries are dropped, nothing waits, and every few
seconds it tries again. The first page after that begins anew, with all sockets that there are."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, Protocol

from moorage.wire.recovery.journal import Heard, Line, encode, encode_page

AGAIN: Final = 2.0
"""Seconds after which a journal that is down tries to store something again."""
MAX_WAITING: Final = 64 * 1024 * 1024
"""Bytes of entries that may wait for a page to be stored. Beyond, the journal is down."""


class Store(Protocol):
    """Where pages are kept."""

    def put(self, page: bytes, done: Callable[[bool], object]) -> None:
        """Store a page. Calls `done` once, later: True if it is stored for certain."""


class Counts:
    """Counters for the metrics."""

    __slots__ = ("bytes", "failures", "lost", "pages")

    def __init__(self) -> None:
        self.pages = self.bytes = 0
        """Number of stored pages, and their bytes."""
        self.failures = 0
        """Pages that were not stored, or not for certain."""
        self.lost = 0
        """Entries that were not stored."""


class Journal:
    """`wake` schedules the end of this turn, where `gate.GatedFlusher.run` cuts the page."""

    def __init__(
        self,
        store: Store,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
        wake: Callable[[], object],
    ) -> None:
        self._store = store
        self._clock = clock
        self._wall_clock = wall_clock
        self._wake = wake
        self.counts = Counts()
        self.describe: Callable[[], object] = lambda: None
        """Adds entries for everything that there is."""
        self.changed: Callable[[bool], object] = lambda up: None
        """Called with False when the journal is down, before anything leaves that is not stored, and with
        True when it is back."""
        self.progress: Callable[[], Iterable[Heard]] = lambda: ()
        """What is new about the messages of other nodes. Asked at the end of each page."""
        self._entries: list[bytes] = []
        self._size = 0
        self._after: list[Callable[[], object]] = []
        """Calls that wait for the page of `_entries`."""
        self._flying: list[Callable[[], object]] = []
        """Calls that wait for the page that is on its way."""
        self._number = 0
        self._storing = False
        self.down = False
        self._try_at = 0.0

    # -- what is written ------------------------------------------------------------------------

    def add(self, entry: Line) -> None:
        """Write an entry behind all others."""
        if self.down:
            self.counts.lost += 1
            return
        if not self._entries:
            self._wake()
        data = encode(entry)
        self._entries.append(data)
        self._size += len(data)
        if self._size > MAX_WAITING:
            self._fail()

    @property
    def pending(self) -> bool:
        """True if there are entries that are not stored."""
        return self._storing or bool(self._entries)

    @property
    def storing(self) -> bool:
        """True while a page is on its way."""
        return self._storing

    def after(self, call: Callable[[], object]) -> None:
        """Make a call when all entries so far are stored, or the journal is down: at once, if they are."""
        if self.down or not self.pending:
            call()
        elif self._entries:
            self._after.append(call)
        else:
            self._flying.append(call)

    # -- pages ----------------------------------------------------------------------------------

    def cut(self, done: Callable[[], object]) -> None:
        """Store all entries so far. `done` is called when that is over, with success or not. Only while no
        other page is on its way."""
        entries, self._entries = self._entries, []
        entries += [encode(entry) for entry in self.progress()]
        self._flying, self._after = self._after, []
        self._size = 0
        self._put(entries, done)

    def _put(self, entries: list[bytes], done: Callable[[], object]) -> None:
        self._number += 1
        self._storing = True
        page = encode_page(self._number, self._wall_clock(), self._clock(), entries)

        def stored(success: bool) -> None:
            self._storing = False
            if success:
                self.counts.pages += 1
                self.counts.bytes += len(page)
            else:
                self.counts.lost += len(entries)
                self._fail()
            flying, self._flying = self._flying, []
            for call in flying:
                call()
            done()

        self._store.put(page, stored)

    def _fail(self) -> None:
        self.counts.failures += 1
        self.counts.lost += len(self._entries)
        self._entries, self._size = [], 0
        waiting, self._after = self._after, []
        was_down, self.down = self.down, True
        if not was_down:
            self.changed(False)
        self._try_at = self._clock() + AGAIN
        # A number that no page has: what is missing can be seen.
        self._number += 1
        for call in waiting:
            call()

    def tick(self, now: float) -> None:
        """Time passes: a journal that is down tries to store an empty page. Nothing waits for that."""
        if self.down and not self._storing and now >= self._try_at:
            failures = self.counts.failures
            self._put([], lambda: self._back(failures))

    def _back(self, failures: int) -> None:
        if self.counts.failures == failures:
            self.down = False
            self.describe()
            self.changed(True)
