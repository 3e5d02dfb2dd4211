"""Wire names of groups: `0~` + base64url(namespace) + `~` + base64url(room), without padding. An empty room
part means the namespace itself. The room part of a private room is the socket id."""

from __future__ import annotations

from base64 import urlsafe_b64decode
from binascii import b2a_base64
from functools import lru_cache
from typing import Final

MAX_GROUP: Final = 1024
"""Maximum characters of a group's name (the limit of the data-plane API)."""


_URL_SAFE: Final = bytes.maketrans(b"+/", b"-_")


def base64url(data: bytes) -> str:
    """Base64 with the URL-safe alphabet, without padding. `base64` takes three times as long."""
    return str(b2a_base64(data, newline=False).translate(_URL_SAFE, b"="), "ascii")


def _encode(text: str) -> str:
    return base64url(text.encode())


@lru_cache(maxsize=1024)
def namespace_group(namespace: str) -> str:
    """The group of all sockets of a namespace; also the prefix of every group in it."""
    return f"0~{_encode(namespace)}~"


def room_group(namespace: str, room: str) -> str:
    """The group of a room; a socket's private room is the room named by its socket id."""
    return namespace_group(namespace) + _encode(room)


def prefix_of(group: str) -> str:
    """The namespace prefix of a room's group name, or "" for any other name."""
    end = group.rfind("~") + 1
    return group[:end] if end > 2 and group.startswith("0~") else ""


@lru_cache(maxsize=16_384)
def room_of(group: str) -> tuple[str, str] | None:
    """(namespace, room) of a room's group; None for the group of a namespace and for any other name.
    Cached, because listing the sockets of a hub looks up the same few rooms repeatedly."""
    parts = group.split("~")
    if len(parts) != 3 or parts[0] != "0" or not parts[2]:
        return None
    try:
        namespace, room = _decode(parts[1]), _decode(parts[2])
    except ValueError:
        # Not base64, not ASCII, or not UTF-8: a REST caller may use any group name.
        return None
    # Base64 has several encodings of some bytes, and decoders skip unknown characters.
    return (namespace, room) if room_group(namespace, room) == group else None


def _decode(text: str) -> str:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
