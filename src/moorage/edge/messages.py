"""Joins the fragments of a WebSocket message, within limits. The limits are on bytes and on fragments: a
million empty fragments have no bytes, but cost memory and time (the pattern of CVE-2026-48779)."""

from __future__ import annotations

from typing import Final

from picows import WSFrame, WSMsgType

from moorage.wire.errors import PeerError
from moorage.wire.reasons import BAD_FRAME, FRAGMENT_FLOOD, PAYLOAD_TOO_LARGE

MAX_FRAGMENTS: Final = 1_024

_CONTINUATION: Final = WSMsgType.CONTINUATION
_DATA: Final = (WSMsgType.TEXT, WSMsgType.BINARY)


class Assembler:
    """The fragments of one connection. It is created when the first fragment comes."""

    __slots__ = ("_count", "_kind", "_limit", "_parts", "_size")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kind: WSMsgType | None = None
        self._parts: list[bytes] = []
        self._size = 0
        self._count = 0

    def add(self, frame: WSFrame) -> tuple[WSMsgType, bytes] | None:
        """Add a data frame. Returns the whole message if it is the last fragment. Raises `PeerError`."""
        kind = frame.msg_type
        if kind == _CONTINUATION:
            if self._kind is None:
                raise PeerError(BAD_FRAME, "a continuation without a message")
        elif kind in _DATA and self._kind is None:
            self._kind = kind
        else:
            raise PeerError(BAD_FRAME, "a new message inside another")
        self._count += 1
        self._size += frame.payload_size
        if self._count > MAX_FRAGMENTS:
            raise PeerError(FRAGMENT_FLOOD, f"at most {MAX_FRAGMENTS}")
        if self._size > self._limit:
            raise PeerError(PAYLOAD_TOO_LARGE, f"at most {self._limit} bytes")
        self._parts.append(frame.get_payload_as_bytes())
        if not frame.fin:
            return None
        assert self._kind is not None
        message = (self._kind, b"".join(self._parts))
        self._kind, self._parts, self._size, self._count = None, [], 0, 0
        return message
