"""The frames that list sockets, joined from finished pieces.

An answer to `Fetch` names tens of thousands of sockets, most of them the same as in the answer
before. So a socket's row is packed once and stays packed until its rooms change; an answer is those
rows, one after the other. Most of a row would be headers that are the same for every client with
the same browser: these go once into each frame.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Final, NamedTuple
from weakref import WeakValueDictionary

import msgspec

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
"""Headers that tell of a browser and of the service, not of a client."""


class Shared:
    """Headers that several clients have. Lives as long as one of them."""

    __slots__ = ("__weakref__", "number", "packed")

    def __init__(self, number: int, headers: bytes) -> None:
        self.number = number
        self.packed = _encode(Headers(number, headers))


class SharedHeaders:
    """All of one hub, by their JSON."""

    def __init__(self) -> None:
        self._known: WeakValueDictionary[bytes, Shared] = WeakValueDictionary()
        self._last = 0

    def __len__(self) -> int:
        return len(self._known)

    def split(self, handshake: bytes) -> tuple[Shared | None, bytes]:
        """The shared headers of a handshake, and its JSON without them."""
        found: dict[str, Any] = msgspec.json.decode(handshake)
        headers: dict[str, Any] = found.get("headers", {})
        shared = {name: headers[name] for name in headers if name in _SHARED}
        if not shared:
            return None, handshake
        found["headers"] = {name: headers[name] for name in headers if name not in _SHARED}
        return self._of(msgspec.json.encode(shared)), msgspec.json.encode(found)

    def _of(self, headers: bytes) -> Shared:
        known = self._known.get(headers)
        if known is None:
            self._last += 1
            known = self._known[headers] = Shared(self._last, headers)
        return known


class Listed(NamedTuple):
    """One socket, packed."""

    namespace: str
    id: str
    row: bytes
    shared: Shared | None
    groups: int
    """Groups of its connection, all namespaces together."""


def listed(namespace: str, row: Row, shared: Shared | None = None, groups: int = 0) -> Listed:
    """`row` for lists whose rows are all of one app server."""
    if shared is not None:
        row.shared = shared.number
    return Listed(namespace, row.id, _encode(row), shared, groups)


def sockets_frame(ref: int, server: str, rows: Sequence[bytes], shared: Collection[Shared]) -> bytes:
    """A `Sockets` frame of packed rows, all of `server`, and the headers that they share."""
    heads = (_HEAD, _encode(ref), _encode((server,)), array_head(len(rows)))
    return b"".join((*heads, *rows, array_head(len(shared)), *(each.packed for each in shared)))


def array_head(length: int) -> bytes:
    """What an array of so many values begins with."""
    if length < 16:
        return bytes((0x90 | length,))
    if length < 0x10000:
        return b"\xdc" + length.to_bytes(2, "big")
    return b"\xdd" + length.to_bytes(4, "big")
