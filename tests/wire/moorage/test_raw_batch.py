"""Batches whose frames are decoded one by one give the same frames as those that are decoded at once."""

from __future__ import annotations

import msgspec
import pytest

from moorage.wire.errors import PeerError
from moorage.wire.moorage import raw_batch, v1
from moorage.wire.reasons import LINK_BAD_FRAME

FRAMES = (v1.Packet(1, b"42[1]"), v1.Join(2, v1.To("/", ("a",)), ("b",)), v1.Facts(3, (v1.Chunk(1, b"x"),)))
BATCH = v1.encode_batch(7, 5, [v1.encode_frame(frame) for frame in FRAMES])


def test_the_frames_are_those_of_a_batch_that_is_decoded_at_once() -> None:
    head = raw_batch.head_from_app(BATCH)
    found = [raw_batch.decode_frame_from_app(frame) for frame in raw_batch.split_frames(head.frames)]
    whole = v1.decode_from_app(BATCH)
    assert (head.number, head.ack, found) == (7, 5, list(whole.frames))


@pytest.mark.parametrize("data", [b"", BATCH[:-1], BATCH + b"x", b"\x93\x01\xff\x90", b"\x92\x01\x02"])
def test_a_damaged_batch_is_refused(data: bytes) -> None:
    with pytest.raises(PeerError) as caught:
        raw_batch.head_from_app(data)
    assert caught.value.reason is LINK_BAD_FRAME


@pytest.mark.parametrize("data", [b"\x01", b"\x80", b"\xa1x"])
def test_frames_that_are_no_array_are_refused(data: bytes) -> None:
    with pytest.raises(PeerError) as caught:
        raw_batch.split_frames(msgspec.Raw(data))
    assert caught.value.reason is LINK_BAD_FRAME


@pytest.mark.parametrize("data", [b"\x90", b"\x91\xcc\xff", b"\xa1x"])
def test_a_frame_of_no_known_kind_is_refused(data: bytes) -> None:
    with pytest.raises(PeerError) as caught:
        raw_batch.decode_frame_from_app(msgspec.Raw(data))
    assert caught.value.reason is LINK_BAD_FRAME


def raw(*frames: v1.FromApp) -> msgspec.Raw:
    return raw_batch.head_from_app(v1.encode_batch(1, 0, [v1.encode_frame(frame) for frame in frames])).frames


def test_a_frame_that_makes_its_receiver_the_home_is_found() -> None:
    home, other = v1.Cover(3, True, False, ("n0",)), v1.Cover(4, False, True, ("n0", "n1"))
    assert raw_batch.makes_home(raw(*FRAMES, home))
    assert raw_batch.makes_home(raw(other, home))
    assert not raw_batch.makes_home(raw(*FRAMES, other))
    assert not raw_batch.makes_home(raw())
    assert not raw_batch.makes_home(msgspec.Raw(b"\x91\x90"))
