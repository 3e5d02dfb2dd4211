"""Compressed messages. Each one stands alone, so the frames of a broadcast are the same for all clients."""

from __future__ import annotations

import struct
import zlib
from typing import Final

from moorage.wire.engineio import OPCODE_BINARY, OPCODE_TEXT, RS, binary_frame, decode_binary, text_frame
from moorage.wire.errors import PeerError
from moorage.wire.reasons import BAD_FRAME, PAYLOAD_TOO_LARGE

TAIL: Final = b"\x00\x00\xff\xff"
"""End of a flushed block, which is not sent (RFC 7692, 7.2.1)."""
RAW: Final = -zlib.MAX_WBITS
"""The largest window, without zlib's own header."""

_FIN_COMPRESSED: Final = 0xC0
_HEADER8: Final = struct.Struct(">BB").pack
_HEADER16: Final = struct.Struct(">BBH").pack
_HEADER64: Final = struct.Struct(">BBQ").pack


class Packer:
    """Compresses payloads from `least` to `most` bytes, and counts what that saves. Others are sent plain:
    short ones save nothing, and a long one would keep all other clients waiting."""

    def __init__(self, level: int, least: int, most: int) -> None:
        self.least = least
        self.most = most
        self.count = 0
        """Number of compressed payloads so far."""
        self._level = level

    def frames(self, payload: bytes) -> bytes | None:
        """The frames of an Engine.IO payload, each compressed if that makes it shorter; None if no frame is.
        Raises `PeerError` (bad-packet) if a `b` packet is not base64."""
        found, is_shorter = [], False
        for packet in payload.split(RS):
            is_binary = packet[:1] == b"b"
            data = decode_binary(packet) if is_binary else packet
            packed = self._deflate(data) if len(data) >= self.least else data
            if len(packed) < len(data):
                is_shorter = True
                found.append(_frame(OPCODE_BINARY if is_binary else OPCODE_TEXT, packed))
            else:
                found.append(binary_frame(data) if is_binary else text_frame(data))
        if not is_shorter:
            return None
        self.count += 1
        return b"".join(found)

    def _deflate(self, data: bytes) -> bytes:
        compressor = zlib.compressobj(self._level, zlib.DEFLATED, RAW)
        return (compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH)).removesuffix(TAIL)


def _frame(opcode: int, data: bytes) -> bytes:
    size, first = len(data), _FIN_COMPRESSED | opcode
    if size < 126:
        return _HEADER8(first, size) + data
    if size < 0x10000:
        return _HEADER16(first, 126, size) + data
    return _HEADER64(first, 127, size) + data


def inflate(data: bytes, limit: int) -> bytes:
    """A client's message. No more than `limit` bytes are made of it. Raises `PeerError` (payload-too-large,
    bad-frame)."""
    decompressor = zlib.decompressobj(RAW)
    try:
        found = decompressor.decompress(data + TAIL, limit + 1)
    except zlib.error as error:
        raise PeerError(BAD_FRAME, f"not a compressed message ({error})") from None
    if len(found) > limit:
        raise PeerError(PAYLOAD_TOO_LARGE, f"at most {limit} bytes, decompressed")
    # Without more output, everything has been read, except what follows a final block.
    if decompressor.unused_data.strip(TAIL):
        raise PeerError(BAD_FRAME, "data behind the end of a compressed message")
    return found
