"""The pages of a journal that are of use."""

from __future__ import annotations

import pytest

from moorage.hub.journal.pages import Pages
from moorage.wire.errors import PeerError
from moorage.wire.recovery.journal import Ended, Entry, Heard, encode, encode_page


def page(number: int) -> bytes:
    return encode_page(number, 1e9 + number, float(number), [encode(Ended("e", str(number)))])


@pytest.mark.parametrize(
    ("numbers", "of_use", "is_cut"),
    [
        ([], [], False),
        ([1, 2, 3], [1, 2, 3], False),
        ([4, 5], [4, 5], True),
        ([1, 2, 4, 5, 7, 8], [7, 8], True),
    ],
)
def test_those_behind_the_last_hole(numbers: list[int], of_use: list[int], is_cut: bool) -> None:
    found = Pages([page(number) for number in numbers])
    assert [entry.pid for entry in found.entries() if isinstance(entry, Ended)] == [str(n) for n in of_use]
    assert found.is_cut is is_cut
    assert found.last_now == (of_use[-1] if of_use else 0.0)


def test_how_far_the_node_had_carried_out_what_others_sent() -> None:
    told: list[Entry | Heard] = [Heard("x", 3, 1), Ended("e", "pid"), Heard("y", 9, 0), Heard("x", 5, 2)]
    found = Pages([encode_page(1, 1e9, 1.0, [encode(entry) for entry in told])])
    assert list(found.entries()) == [Ended("e", "pid")]
    assert found.heard == {"x": (5, 2), "y": (9, 0)}


def test_bytes_that_are_no_page() -> None:
    with pytest.raises(PeerError):
        Pages([b"\xc1"])
    bad = Pages([encode_page(1, 0.0, 0.0, [b"\x91\x63"])])
    with pytest.raises(PeerError):
        list(bad.entries())
