"""The past of a socket, and whether a selection has it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moorage.hub.recovery.sockets.track import Track, matches
from moorage.hub.rooms import Directory
from moorage.wire.commands import Selection
from moorage.wire.filters.compiled import Filter, compile_filter
from tests.hub.fakes import World

GROUPS = ["a", "b", "c"]


def make(*groups: str) -> Track[Any]:
    track: Track[Any] = Track("p", "/", "s", connection_id="c1", user_id="u")
    track.groups = set(groups)
    track.server, _ = World().server()
    return track


@given(st.lists(st.tuples(st.sampled_from(GROUPS), st.booleans()), max_size=20), st.data())
def test_its_groups_at_any_position(changes: list[tuple[str, bool]], data: st.DataObject) -> None:
    track, groups = make(), {0: frozenset[str]()}
    current: set[str] = set()
    for position, (group, joined) in enumerate(changes):
        # The change comes after the event at this position.
        if (group in current) is not joined:
            track.changed(position, 0.0, group, joined=joined, old=-1.0, most=100)
            current ^= {group}
        groups[position + 1] = frozenset(current)
    track.groups = current
    after = data.draw(st.integers(0, len(changes)))
    past = track.past(after)
    assert set(past.joined) >= set(current)
    for position in range(after + 1, len(changes) + 1):
        past.advance(position)
        assert past.groups == groups[position]
        assert past.groups <= set(past.joined)


def test_when_it_joined() -> None:
    track = make("a", "b")
    track.changed(5, 0.0, "b", joined=True, old=-1.0, most=100)
    track.changed(7, 0.0, "c", joined=True, old=-1.0, most=100)
    track.changed(8, 0.0, "c", joined=False, old=-1.0, most=100)
    track.changed(9, 0.0, "d", joined=False, old=-1.0, most=100)
    assert track.past(3).joined == {"a": 3, "b": 5, "c": 7, "d": 3}
    assert track.past(7).groups == {"a", "b", "d"}


def test_old_changes_are_forgotten() -> None:
    track = make("a")
    track.changed(1, 10.0, "a", joined=True, old=0.0, most=100)
    track.changed(2, 20.0, "b", joined=True, old=5.0, most=100)
    track.changed(3, 30.0, "b", joined=False, old=15.0, most=100)
    assert track.past(0).joined == {"a": 0, "b": 2}


@pytest.mark.parametrize(
    "to",
    [
        Selection(),
        Selection(group="a"),
        Selection(group="z"),
        Selection(user="u"),
        Selection(user="v"),
        Selection(group="a", user="v"),
        Selection(within="a"),
        Selection(within="z", user="u"),
        Selection(excluded=("c1",)),
        Selection(server="s1"),
        Selection(server="s2"),
        Selection(filter=Filter(any_of=("z", "b"))),
        Selection(filter=Filter(any_of=("z",))),
        Selection(filter=Filter(none_of=("b",))),
        Selection(filter=Filter(none_of=("z",), any_of=("a",))),
        Selection(filter=Filter(connection_id="c1")),
        Selection(filter=Filter(connection_id="c2")),
        Selection(filter=compile_filter("userId eq 'u' or 'z' in groups")),
        Selection(filter=compile_filter("length(userId) gt 5")),
    ],
)
def test_a_selection_has_it_if_the_index_says_so(to: Selection) -> None:
    track = make("a", "b")
    directory: Directory[Any] = Directory()
    groups, track.groups = track.groups, set()
    directory.add(track)
    for group in groups:
        directory.rooms.join(track, group)
    assert matches(to, track) == (track in directory.select(to))
