"""The rows of `FetchSockets` on their way between nodes.

A packed row names headers that it shares with other rows by a number of this node. So a row travels with all
of its headers, and the receiver packs it again.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from moorage.wire.cluster import Socket
from moorage.wire.moorage.listing import Listed, Shared, listed
from moorage.wire.moorage.rows import Headers, Row

_row: Final = msgspec.msgpack.Decoder(Row).decode
_headers: Final = msgspec.msgpack.Decoder(Headers).decode


def unpacked(rows: Iterable[Listed]) -> tuple[Socket, ...]:
    """Packed rows as they travel."""
    return tuple([_unpacked(each) for each in rows])


def _unpacked(each: Listed) -> Socket:
    row = _row(each.row)
    handshake = row.handshake if each.shared is None else _joined(row.handshake, each.shared)
    return Socket(row.id, row.connection, row.user, row.opened, row.rooms, handshake)


def _joined(handshake: bytes, shared: Shared) -> bytes:
    found: dict[str, Any] = msgspec.json.decode(handshake)
    found["headers"] = msgspec.json.decode(_headers(shared.packed).headers) | found["headers"]
    return msgspec.json.encode(found)


def packed(namespace: str, rows: Iterable[Socket]) -> list[Listed]:
    """Rows that have arrived, packed for this node's links."""
    return [
        listed(
            namespace, Row(each.id, each.connection, each.user, 0, each.opened, each.rooms, each.handshake)
        )
        for each in rows
    ]
