"""From rooms and namespaces in the frames of the moorage dialect to groups."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from moorage.hub.turns import Job
from moorage.wire.errors import PeerError
from moorage.wire.groups import namespace_group, room_group
from moorage.wire.moorage import v1
from moorage.wire.reasons import LINK_BAD_REQUEST
from moorage.wire.socketio import MAX_NAMESPACE

MAX_ROOM: Final = 2_048
"""Maximum characters of a room's name."""
MAX_ROOMS: Final = 100_000
"""Maximum number of rooms in one frame."""
FEW_ROOMS: Final = 250
"""Maximum number of rooms in a frame whose groups are built at once; those of more rooms are built in
steps."""


def namespace_of(name: str) -> str:
    """The group of a namespace. Raises `PeerError` (link-bad-request)."""
    if not name.startswith("/") or len(name) > MAX_NAMESPACE:
        raise PeerError(
            LINK_BAD_REQUEST, f"a namespace begins with / and has at most {MAX_NAMESPACE} characters"
        )
    return namespace_group(name)


def _check_count(rooms: tuple[str, ...]) -> None:
    if len(rooms) > MAX_ROOMS:
        raise PeerError(LINK_BAD_REQUEST, f"at most {MAX_ROOMS} rooms at once")


def groups_of(namespace: str, rooms: tuple[str, ...]) -> tuple[str, ...]:
    """The groups of these rooms, without duplicates. Raises `PeerError` (link-bad-request)."""
    if len(rooms) == 1:
        return _groups_of_one(namespace, rooms[0])
    namespace_of(namespace)
    return tuple(dict.fromkeys(_group_of(namespace, room) for room in rooms))


@lru_cache(maxsize=1024)
def _groups_of_one(namespace: str, room: str) -> tuple[str, ...]:
    """`groups_of` for one room. Cached: an app emits to the same rooms again and again."""
    namespace_of(namespace)
    return (_group_of(namespace, room),)


def _group_of(namespace: str, room: str) -> str:
    # An empty room name would mean the whole namespace.
    if not room or len(room) > MAX_ROOM:
        raise PeerError(LINK_BAD_REQUEST, f"a room's name has 1 to {MAX_ROOM} characters")
    return room_group(namespace, room)


def excluded_groups(to: v1.To) -> tuple[str, ...]:
    """The groups whose members are left out. Raises `PeerError` (link-bad-request)."""
    return groups_of(to.namespace, to.excluded) if to.excluded else ()


def many_groups(namespace: str, rooms: tuple[str, ...]) -> Job[tuple[str, ...]]:
    """`groups_of` in steps."""
    _check_count(rooms)
    groups: dict[str, None] = {}
    for start in range(0, len(rooms), FEW_ROOMS):
        groups.update(dict.fromkeys(groups_of(namespace, rooms[start : start + FEW_ROOMS])))
        yield False
    return tuple(groups)
