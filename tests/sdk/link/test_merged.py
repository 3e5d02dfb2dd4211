from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from moorage.sdk.errors import MoorageError, RequestFailed, SessionLost
from moorage.sdk.link.merged import Merged
from moorage.wire.moorage.v1 import Answer, Asked, Done


class Heard:
    """`Answers` that keeps what it is told."""

    def __init__(self) -> None:
        self.parts: list[tuple[object, int]] = []
        self.ends: list[object] = []

    def part(self, frame: object, source: int = 0, /) -> None:
        self.parts.append((frame, source))

    def end(self, frame: object) -> None:
        self.ends.append(frame)

    def failed(self, error: MoorageError) -> None:
        self.ends.append(error)


def test_counts_add_up_and_parts_pass() -> None:
    heard = Heard()
    merged = Merged(7, heard, 2)
    one, two = merged.leaf(0, "one"), merged.leaf(3, "two")
    one.part(Asked(7, 2))
    one.part(Answer(7, "a", b"430[]"))
    assert heard.parts == [(Answer(7, "a", b"430[]"), 0)]
    two.part(Asked(7, 3))
    two.part(Answer(7, "b", b"430[]"))
    assert heard.parts[1:] == [(Asked(7, 5), 0), (Answer(7, "b", b"430[]"), 3)]
    two.end(Done(7, 1, ("x", "y")))
    assert heard.ends == []
    one.end(Done(7, 2, ("y", "z")))
    assert heard.ends == [Done(7, 3, ("x", "y", "z"))]


def test_a_lost_node_is_missing() -> None:
    heard = Heard()
    merged = Merged(1, heard, 2)
    one, two = merged.leaf(0, "one"), merged.leaf(1, "two")
    two.failed(SessionLost("gone"))
    one.end(Done(1, 4))
    assert heard.ends == [Done(1, 4, ("two",))]


def test_if_all_fail_the_request_fails() -> None:
    heard = Heard()
    merged = Merged(1, heard, 2)
    first = RequestFailed(4009, "link-bad-request", "no")
    merged.leaf(0, "one").failed(first)
    merged.leaf(1, "two").failed(SessionLost("gone"))
    assert heard.ends == [first]


@given(st.lists(st.none() | st.integers(0, 9), min_size=1, max_size=6), st.data())
def test_there_is_one_end_whatever_the_order(counts: list[int | None], data: st.DataObject) -> None:
    heard = Heard()
    merged = Merged(1, heard, len(counts))
    leaves = [(merged.leaf(at, f"n{at}"), count) for at, count in enumerate(counts)]
    for leaf, count in data.draw(st.permutations(leaves)):
        assert not heard.ends
        if count is None:
            leaf.failed(SessionLost("gone"))
        else:
            leaf.part(Asked(1, count))
            leaf.end(Done(1, count))
    (end,) = heard.ends
    there = [count for count in counts if count is not None]
    if there:
        assert isinstance(end, Done)
        assert (end.count, len(end.missing)) == (sum(there), len(counts) - len(there))
        assert (Asked(1, sum(there)), 0) in heard.parts
    else:
        assert isinstance(end, SessionLost)
