"""The frames that list sockets, joined from encoded rows.

An answer to `Fetch` may list tens of thousands of sockets, most of them unchanged since the previous answer.
So a socket's row is encoded once and kept until its rooms change, and an answer joins these rows. Most of a
row would be headers that all clients with the same browser share. These are sent once per frame."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import Any, Final
from weakref import WeakValueDictionary

import msgspec

from moorage.wire.commands import Found
from moorage.wire.moorage.rows import Headers, Row

_encode = msgspec.msgpack.Encoder().encode
_HEAD: Final = b"\x95" + _encode(31)
_SHARED: Final = frozenset(
    (
        *("accept", "accept-encoding", "accept-language", "cache-control", "connection", "dnt", "host"),
        *("origin", "pragma", "sec-ch-ua", "sec-ch-ua-mobile", "sec-ch-ua-platform", "sec-fetch-dest"),
        *("sec-fetch-mode", "sec-fetch-site", "sec-websocket-extensions", "sec-websocket-version"),
        *("upgrade", "user-agent"),
    )
)
"""Headers that depend on the browser and on the service, not on the client."""


_EMPTY: Final = msgspec.Raw(b"{}")
_fields: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_json: Final = msgspec.json.Encoder().encode


@lru_cache(maxsize=256)
def _parted(names: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names of shared headers, and the others. A browser always sends the same ones."""
    return tuple([n for n in names if n in _SHARED]), tuple([n for n in names if n not in _SHARED])


class Shared:
    """Headers that several clients share. Lives as long as one of these clients."""

    __slots__ = ("__weakref__", "headers", "number", "packed")

    def __init__(self, number: int, headers: bytes) -> None:
        self.number = number
        self.headers = headers
        self.packed = _encode(Headers(number, headers))


class SharedHeaders:
    """All shared headers of one hub, by their JSON."""

    def __init__(self) -> None:
        self._known: WeakValueDictionary[bytes, Shared] = WeakValueDictionary()
        self._last = 0

    def __len__(self) -> int:
        return len(self._known)

    def split(self, handshake: bytes) -> Split:
        """Take the shared headers out of a handshake. What is no handshake becomes an empty one. It may
        come from another node."""
        try:
            found = _fields(handshake)
            headers = _fields(found.get("headers", _EMPTY))
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            return Split(None, b'{"headers":{}}')
        shared, others = _parted(tuple(headers))
        if not shared:
            return Split(None, handshake)
        found["headers"] = msgspec.Raw(_json({name: headers[name] for name in others}))
        return Split(self._of(_json({name: headers[name] for name in shared})), _json(found))

    def _of(self, headers: bytes) -> Shared:
        known = self._known.get(headers)
        if known is None:
            self._last += 1
            known = self._known[headers] = Shared(self._last, headers)
        return known


class Split(msgspec.Struct, gc=False):
    """A handshake without the headers in `shared`."""

    shared: Shared | None
    rest: bytes

    def __bytes__(self) -> bytes:
        """The whole handshake."""
        if self.shared is None:
            return self.rest
        found: dict[str, Any] = msgspec.json.decode(self.rest)
        found["headers"] = msgspec.json.decode(self.shared.headers) | found["headers"]
        return msgspec.json.encode(found)


def pack(found: Found, headers: SharedHeaders) -> bytes:
    """Pack a socket for lists whose rows are all of one app server, and keep the row."""
    split = found.handshake
    if not isinstance(split, Split):
        split = found.handshake = headers.split(bytes(split))
    found.shared = shared = split.shared
    number = 0 if shared is None else shared.number
    row = Row(found.id, found.connection, found.user, 0, found.opened, found.rooms, split.rest, number)
    found.packed = packed = _encode(row)
    return packed


def sockets_frame(ref: int, server: str, rows: Sequence[bytes], shared: Collection[Shared]) -> bytes:
    """A `Sockets` frame of encoded rows, all of `server`, and the headers that they share."""
    heads = (_HEAD, _encode(ref), _encode((server,)), array_head(len(rows)))
    return b"".join((*heads, *rows, array_head(len(shared)), *(each.packed for each in shared)))


def array_head(length: int) -> bytes:
    """The MessagePack header of an array of `length` values."""
    if length < 16:
        return bytes((0x90 | length,))
    if length < 0x10000:
        return b"\xdc" + length.to_bytes(2, "big")
    return b"\xdd" + length.to_bytes(4, "big")
