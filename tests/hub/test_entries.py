"""The entries of one client's queue, against a list."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from moorage.hub.entries import Entries

WAITING = st.lists(st.binary(min_size=1, max_size=5), max_size=4)


@given(WAITING)
def test_entries_come_back_in_their_order(waiting: list[bytes]) -> None:
    entries = Entries()
    entries.put(waiting)
    assert (entries.count, entries.size) == (len(waiting), sum(map(len, waiting)))
    assert entries.last == (waiting[-1] if waiting else b"")
    assert entries.take_all() == waiting
    assert (entries.count, entries.size, entries.last, entries.take_all()) == (0, 0, b"", [])


@given(WAITING, st.booleans())
def test_entries_are_joined_in_the_form_of_the_client(waiting: list[bytes], framed: bool) -> None:
    entries = Entries()
    entries.framed = framed
    entries.put(waiting)
    assert entries.take() == (b"" if framed else b"\x1e").join(waiting)
    assert entries.count == 0
