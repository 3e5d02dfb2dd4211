"""The groups of a hub with recovery."""

from __future__ import annotations

from typing import Any, Protocol, TypeVar

from moorage.hub.recovery.sockets.track import Track
from moorage.hub.rooms import Member, Rooms


class Tracked(Member, Protocol):
    """A connection."""

    tracks: dict[str, Track[Any]] | None
    """Its recoverable sockets, by the group of their namespace."""


ConnectionT = TypeVar("ConnectionT", bound=Tracked)


class Change(Protocol):
    """A connection with recoverable sockets joins or leaves a group. Returns True if only a parked socket has
    to do so."""

    def __call__(self, connection: Any, group: str, *, joined: bool) -> bool: ...


class TrackedRooms(Rooms[ConnectionT]):
    """A socket that is being recovered is still parked: what its app server changes about its groups until it
    has answered changes the parked socket's."""

    def __init__(self, hub: str, change: Change) -> None:
        super().__init__(hub)
        self._change = change

    def join(self, connection: ConnectionT, group: str, *, private: bool = False) -> None:
        """`Rooms.join`."""
        if connection.tracks is None or not self._change(connection, group, joined=True):
            super().join(connection, group, private=private)

    def leave(self, connection: ConnectionT, group: str) -> None:
        """`Rooms.leave`."""
        if connection.tracks is None or not self._change(connection, group, joined=False):
            super().leave(connection, group)
