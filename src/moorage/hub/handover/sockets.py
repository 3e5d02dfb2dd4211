"""What one app server leaves of a client's socket, and what another one needs to go on with it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from moorage.wire.groups import namespace_group, room_group, room_of


class Left(NamedTuple):
    """A socket, as its app server leaves it."""

    namespace: str
    sid: str
    data: bytes = b""
    """The app's data, in the form of the link dialect; empty if there is none."""
    acks: int = 0
    """The highest ack id that the app server has used."""
    pending: frozenset[int] = frozenset()
    """Ack ids whose answers the app server still waits for."""


class Made(NamedTuple):
    """A socket, as another app server must make it."""

    namespace: str
    sid: str
    rooms: tuple[str, ...]
    """Without the private room."""
    data: bytes
    acks: int
    """The new app server uses higher ack ids."""


def made_of(left: Left, groups: Iterable[str]) -> Made:
    """The socket with its rooms, found among the groups of its connection."""
    whole, private = namespace_group(left.namespace), room_group(left.namespace, left.sid)
    rooms = tuple(
        found[1]
        for group in groups
        if group != private and group.startswith(whole) and (found := room_of(group)) is not None
    )
    return Made(left.namespace, left.sid, rooms, left.data, left.acks)
