"""Batches of an app server whose frames are decoded later, one by one (`v1` decodes them all at once)."""

from __future__ import annotations

from typing import Annotated, NamedTuple

import msgspec

from moorage.wire.errors import PeerError
from moorage.wire.moorage.rows import Count
from moorage.wire.moorage.v1 import FewFrames, FromApp
from moorage.wire.reasons import LINK_BAD_FRAME

_head_from_app = msgspec.msgpack.Decoder(tuple[Count, Count, msgspec.Raw])
_split = msgspec.msgpack.Decoder(Annotated[list[msgspec.Raw], FewFrames])
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


def decode_frame_from_app(data: msgspec.Raw) -> FromApp:
    """Decode one frame of a `RawBatch`. Raises `PeerError` (link-bad-frame)."""
    try:
        frame: FromApp = _frame_from_app.decode(data)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise PeerError(LINK_BAD_FRAME, str(error)[:200]) from None
    return frame
