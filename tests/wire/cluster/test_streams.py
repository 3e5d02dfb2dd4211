"""Numbered frames: every value survives its byte form, and no bytes raise anything but `PeerError`."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moorage.wire.cluster.streams import ALL, BEAT, GONE_DIRECT, MAX_NUMBER, decode, encode, prefix
from moorage.wire.errors import PeerError

numbers = st.integers(0, MAX_NUMBER - 1)
names = st.binary(min_size=1, max_size=16)
marks = st.lists(st.tuples(names, numbers, numbers), max_size=4)


@given(st.integers(ALL, GONE_DIRECT), names, numbers, numbers, st.binary(), st.none() | marks)
def test_every_value_survives(
    kind: int,
    sender: bytes,
    first: int,
    second: int,
    payload: bytes,
    rows: list[tuple[bytes, int, int]] | None,
) -> None:
    frame = encode(prefix(kind, sender), first, second, payload, rows)
    assert decode(frame) == (kind, sender, first, second, tuple(rows or ()), payload)


@given(st.binary(max_size=100))
def test_any_bytes_are_a_frame_or_refused(data: bytes) -> None:
    try:
        decode(data)
    except PeerError as error:
        assert error.reason.name == "node-bad-message"


GOOD = encode(prefix(BEAT, b"n1"), 3, 4, marks=[(b"n2", 5, 6)])


@pytest.mark.parametrize("size", range(len(GOOD)))
def test_a_truncated_frame_is_refused(size: int) -> None:
    with pytest.raises(PeerError):
        decode(GOOD[:size])


@pytest.mark.parametrize(
    "frame",
    [
        encode(prefix(0, b"n1"), 1, 1), encode(prefix(GONE_DIRECT + 1, b"n1"), 1, 1),
        encode(prefix(ALL, b""), 1, 1), encode(prefix(ALL, b"n1"), MAX_NUMBER, 1),
        encode(prefix(ALL, b"n1"), 1, 2**64 - 1),
    ],
)  # fmt: skip
def test_a_frame_of_another_form_is_refused(frame: bytes) -> None:
    with pytest.raises(PeerError, match="another form"):
        decode(frame)


def test_a_heartbeat_tells_how_far_each_stream_is() -> None:
    assert decode(GOOD) == (BEAT, b"n1", 3, 4, ((b"n2", 5, 6),), b"")
    assert decode(encode(prefix(ALL, b"n1"), 1, 2, b"x")) == (ALL, b"n1", 1, 2, (), b"x")
