"""The pages of a journal, and what happens when they cannot be stored."""

from __future__ import annotations

import pytest

from moorage.hub.journal import journal as module
from moorage.hub.journal.journal import AGAIN, Journal
from moorage.wire.recovery.journal import Ended, decode, decode_page
from tests.hub.journal.loss import PagesInMemory


class Alone:
    """A journal."""

    def __init__(self) -> None:
        self.now = 100.0
        self.store = PagesInMemory()
        self.woken = 0
        self.journal = Journal(self.store, lambda: self.now, lambda: 1e9, self.wake)
        self.events: list[str] = []
        self.journal.describe = lambda: self.events.append("describe")

    def wake(self) -> None:
        self.woken += 1

    def cut(self) -> None:
        self.journal.cut(lambda: self.events.append("done"))


@pytest.fixture
def alone() -> Alone:
    return Alone()


def test_entries_are_stored_in_pages(alone: Alone) -> None:
    journal = alone.journal
    journal.after(lambda: alone.events.append("at once"))
    journal.add(Ended("e", "a"))
    journal.add(Ended("e", "b"))
    assert (alone.woken, journal.pending, journal.storing) == (1, True, False)
    journal.after(lambda: alone.events.append("first"))
    alone.cut()
    assert (journal.pending, journal.storing) == (True, True)
    journal.after(lambda: alone.events.append("still first"))
    journal.add(Ended("e", "c"))
    journal.after(lambda: alone.events.append("second"))
    alone.store.answer()
    assert alone.events == ["at once", "first", "still first", "done"]
    alone.cut()
    alone.store.answer()
    assert alone.events[4:] == ["second", "done"]
    assert not journal.pending
    pages = [decode_page(page) for page in alone.store.pages]
    assert [page.number for page in pages] == [1, 2]
    assert [decode(raw) for raw in pages[0].entries] == [Ended("e", "a"), Ended("e", "b")]
    assert (journal.counts.pages, journal.counts.failures) == (2, 0)


def test_a_store_that_fails_holds_nobody_up(alone: Alone) -> None:
    journal = alone.journal
    alone.store.works = False
    journal.changed = lambda up: alone.events.append("up" if up else "down")
    journal.add(Ended("e", "a"))
    alone.cut()
    journal.add(Ended("e", "b"))
    journal.after(lambda: alone.events.append("waited"))
    alone.store.answer()
    assert (journal.down, alone.events) == (True, ["down", "waited", "done"])
    journal.add(Ended("e", "c"))
    journal.after(lambda: alone.events.append("at once"))
    assert alone.events[-1] == "at once"
    assert (journal.counts.lost, journal.counts.failures) == (3, 1)
    journal.tick(alone.now + AGAIN - 0.1)
    assert not alone.store.waiting
    alone.now += AGAIN
    journal.tick(alone.now)
    alone.store.answer()
    assert journal.down
    alone.store.works = True
    alone.now += AGAIN
    journal.tick(alone.now)
    journal.tick(alone.now)
    assert len(alone.store.waiting) == 1
    alone.store.answer()
    assert (journal.down, alone.events[-2:]) == (False, ["describe", "up"])
    assert alone.events.count("down") == 1
    # The number tells that something is missing.
    assert [decode_page(page).number for page in alone.store.pages] == [5]


def test_too_much_waits(alone: Alone, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WAITING", 50)
    alone.journal.add(Ended("e", "a" * 100))
    assert alone.journal.down
