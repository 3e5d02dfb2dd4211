"""The frames that list sockets, joined from finished pieces.

An answer to `Fetch` names tens of thousands of sockets, most of them the same as in the answer
before. So all of a socket's row but the handshake, which is kept anyway, is packed once and stays
packed until the socket's rooms change; an answer is those pieces, one after the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from moorage.wire.tunnel import Row, array_head

_encode = msgspec.msgpack.Encoder().encode
_HEAD: Final = b"\x94" + _encode(31)
_EMPTY_BIN: Final = 2
"""Bytes of a bin without content, which ends a packed row."""


class Listed(NamedTuple):
    """One socket, packed."""

    namespace: str
    id: str
    row: bytes
    """Of a list whose rows are all of one app server: everything up to the bytes of the handshake."""


def listed(namespace: str, row: Row, handshake_bytes: int) -> Listed:
    """`row` without its handshake, for one of so many bytes to follow."""
    return Listed(namespace, row.id, _encode(row)[:-_EMPTY_BIN] + _bin_head(handshake_bytes))


def sockets_frame(ref: int, server: str, rows: int, pieces: Sequence[bytes]) -> bytes:
    """A `Sockets` frame of `rows` rows, all of `server`; `pieces` are their bytes."""
    return b"".join((_HEAD, _encode(ref), _encode((server,)), array_head(rows), *pieces))


def _bin_head(size: int) -> bytes:
    if size < 0x100:
        return bytes((0xC4, size))
    if size < 0x10000:
        return b"\xc5" + size.to_bytes(2, "big")
    return b"\xc6" + size.to_bytes(4, "big")
