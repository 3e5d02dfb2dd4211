"""Wire names of groups: `0~` + base64url(namespace) + `~` + base64url(room), without padding.

An empty room part is the namespace itself; a socket's private room carries its socket id.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from functools import lru_cache
from typing import Final

MAX_GROUP: Final = 1024
"""Characters of a group's name (the data-plane API's own limit)."""


def _encode(text: str) -> str:
    return urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


@lru_cache(maxsize=1024)
def namespace_group(namespace: str) -> str:
    """The group of all sockets of a namespace; also the prefix of every group in it."""
    return f"0~{_encode(namespace)}~"


def room_group(namespace: str, room: str) -> str:
    """The group of a room; a socket's private room is the room named by its socket id."""
    return namespace_group(namespace) + _encode(room)


def prefix_of(group: str) -> str:
    """The namespace prefix of a room's group name, or "" for a name of another shape."""
    end = group.rfind("~") + 1
    return group[:end] if end > 2 and group.startswith("0~") else ""


@lru_cache(maxsize=16_384)
def room_of(group: str) -> tuple[str, str] | None:
    """(namespace, room) of a room's group, None for a name of another shape and for a namespace's
    own group. Cached: listing the sockets of a hub asks for the same few rooms again and again."""
    parts = group.split("~")
    if len(parts) != 3 or parts[0] != "0" or not parts[2]:
        return None
    try:
        namespace, room = _decode(parts[1]), _decode(parts[2])
    except ValueError:
        # Not base64, not ASCII, or not UTF-8: strangers may name groups as they like.
        return None
    # Base64 has several spellings for some bytes, and decoders overlook what they do not know.
    return (namespace, room) if room_group(namespace, room) == group else None


def _decode(text: str) -> str:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
