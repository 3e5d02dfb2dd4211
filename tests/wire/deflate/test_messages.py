"""Compressed frames and messages, against zlib by hand."""

from __future__ import annotations

import os
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from picows.picows import WSMsgType

from moorage.wire import engineio
from moorage.wire.deflate.messages import TAIL, Packer, inflate
from moorage.wire.errors import PeerError
from moorage.wire.reasons import BAD_FRAME, PAYLOAD_TOO_LARGE

LIMIT = 100_000


def packed(data: bytes, *, final: bool = False, level: int = 6) -> bytes:
    """A client's message."""
    compressor = zlib.compressobj(level, zlib.DEFLATED, -15)
    found = compressor.compress(data) + compressor.flush(zlib.Z_FINISH if final else zlib.Z_SYNC_FLUSH)
    return found + b"\x00" if final else found.removesuffix(TAIL)


def read(frames: bytes) -> list[tuple[int, bool, bytes]]:
    """Opcode, compressed or not, and data of each frame."""
    found = []
    while frames:
        first, size, at = frames[0], frames[1], 2
        if size > 125:
            at = 4 if size == 126 else 10
            size = int.from_bytes(frames[2:at], "big")
        data, frames = frames[at : at + size], frames[at + size :]
        assert first & 0x80
        assert not first & 0x30
        found.append((first & 0xF, bool(first & 0x40), inflate(data, 10**7) if first & 0x40 else data))
    return found


@pytest.mark.parametrize("size", [64, 125, 5_000, 70_000, 300_000])
def test_a_payload_as_frames(size: int) -> None:
    text = b'42["' + os.urandom(size // 2).hex().encode() + b'"]'
    found = Packer(1, 64, 10**6).frames(text)
    assert found is not None
    assert read(found) == [(WSMsgType.TEXT.value, True, text)]
    assert len(found) < len(engineio.frames(text))


def test_only_what_becomes_shorter_is_compressed() -> None:
    noise, zeros = os.urandom(500), bytes(500)
    payload = engineio.RS.join((b"451-[]", engineio.encode_binary(noise), engineio.encode_binary(zeros)))
    packer = Packer(6, 64, 10**6)
    found = packer.frames(payload)
    assert found is not None
    assert read(found) == [(1, False, b"451-[]"), (2, False, noise), (2, True, zeros)]
    assert packer.count == 1
    assert packer.frames(engineio.encode_binary(noise)) is None
    assert packer.frames(b"42[1]") is None
    assert packer.count == 1


@given(st.binary(max_size=2000), st.booleans(), st.integers(0, 9))
def test_round_trip(data: bytes, final: bool, level: int) -> None:
    assert inflate(packed(data, final=final, level=level), LIMIT) == data


def test_a_bomb_is_not_inflated() -> None:
    bomb = packed(bytes(50_000_000), level=9)
    assert len(bomb) < 60_000
    with pytest.raises(PeerError) as refused:
        inflate(bomb, LIMIT)
    assert refused.value.reason is PAYLOAD_TOO_LARGE
    assert inflate(packed(bytes(LIMIT)), LIMIT) == bytes(LIMIT)
    with pytest.raises(PeerError):
        inflate(packed(bytes(LIMIT + 1)), LIMIT)


@pytest.mark.parametrize("data", [b"\xff\xff", b"hello", packed(b"x" * 100, final=True) + b"more"])
def test_what_is_no_compressed_message(data: bytes) -> None:
    with pytest.raises(PeerError) as refused:
        inflate(data, LIMIT)
    assert refused.value.reason is BAD_FRAME


@given(st.binary(max_size=100), st.binary(max_size=4), st.integers(0, 100))
def test_damaged_messages_are_values_or_refusals(data: bytes, more: bytes, at: int) -> None:
    whole = packed(data)
    for damaged in (data, whole[:at] + more + whole[at + len(more) :]):
        try:
            assert len(inflate(damaged, 1000)) <= 1000
        except PeerError as error:
            assert error.reason in (BAD_FRAME, PAYLOAD_TOO_LARGE)
