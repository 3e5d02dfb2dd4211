"""The generator's view of the wire: frames out, frames in, however the bytes are cut."""

from __future__ import annotations

import pytest

from bench.errors import BenchError
from bench.frames import client_frame, server_frame, split_frames, tick_frame


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536])
def test_server_frames_split_again(size: int) -> None:
    payload = b"y" * size
    assert split_frames(server_frame(payload)) == ([payload], b"")


def test_frames_cut_at_every_byte() -> None:
    data = server_frame(b"2") + server_frame(b"z" * 200) + server_frame(b"40")
    for cut in range(len(data) + 1):
        first, rest = split_frames(data[:cut])
        second, left = split_frames(rest + data[cut:])
        assert first + second == [b"2", b"z" * 200, b"40"]
        assert left == b""


@pytest.mark.parametrize("first", [b"\x01", b"\x82", b"\x88", b"\x80"])
def test_anything_but_whole_text_is_an_error(first: bytes) -> None:
    with pytest.raises(BenchError):
        split_frames(first + b"\x00")


@pytest.mark.parametrize("size", [0, 3, 125, 126, 65_535, 65_536])
def test_client_frame_is_masked_with_a_key(size: int) -> None:
    payload = bytes(index % 251 for index in range(size))
    frame = client_frame(payload)
    mask, body = frame[-size - 4 : len(frame) - size], frame[len(frame) - size :]
    assert frame[1] & 0x80
    assert any(mask)
    assert bytes(byte ^ mask[index % 4] for index, byte in enumerate(body)) == payload


def test_tick_is_the_event_as_socketio_writes_it() -> None:
    assert split_frames(tick_frame(3))[0] == [b'42["tick","xxx"]']
