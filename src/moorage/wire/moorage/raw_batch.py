"""Batches of an app server whose frames are decoded later, one by one (`v1` decodes them all at once)."""

from __future__ import annotations

from typing import Annotated, Final, NamedTuple

import msgspec

from moorage.wire.errors import PeerError
from moorage.wire.moorage.coverage import Cover
from moorage.wire.moorage.rows import Count
from moorage.wire.moorage.v1 import FewFrames, FromApp
from moorage.wire.reasons import LINK_BAD_FRAME

_head_from_app = msgspec.msgpack.Decoder(tuple[Count, Count, msgspec.Raw])
_split = msgspec.msgpack.Decoder(Annotated[list[msgspec.Raw], FewFrames])
_COVER: Final = 0x34
"""The tag of `Cover`, the second byte of a frame."""
_frame_from_app = msgspec.msgpack.Decoder(FromApp)


class RawBatch(NamedTuple):
    """A batch with undecoded frames."""

    number: int
    ack: int
    frames: msgspec.Raw


def head_from_app(data: bytes) -> RawBatch:
    """Decode a batch of an app server except for its frames, which need much less memory undecoded. Raises
    `PeerError` (link-bad-frame)."""
    try:
        return RawBatch(*_head_from_app.decode(data))
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise PeerError(LINK_BAD_FRAME, str(error)[:200]) from None


def split_frames(frames: msgspec.Raw) -> list[msgspec.Raw]:
    """The frames of a `RawBatch`, one by one. Raises `PeerError` (link-bad-frame)."""
    try:
        split: list[msgspec.Raw] = _split.decode(frames)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise PeerError(LINK_BAD_FRAME, str(error)[:200]) from None
    return split


def makes_home(frames: msgspec.Raw) -> bool:
    """True if a `Cover` among the frames makes its receiver the home. Only such frames are decoded, because
    others may be large. Raises `PeerError` (link-bad-frame)."""
    for frame in split_frames(frames):
        data = memoryview(frame)
        if len(data) > 1 and data[1] == _COVER:
            cover = decode_frame_from_app(frame)
            if isinstance(cover, Cover) and cover.home:
                return True
    return False


def decode_frame_from_app(data: msgspec.Raw) -> FromApp:
    """Decode one frame of a `RawBatch`. Raises `PeerError` (link-bad-frame)."""
    try:
        frame: FromApp = _frame_from_app.decode(data)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise PeerError(LINK_BAD_FRAME, str(error)[:200]) from None
    return frame
