"""Large emits in a hub with recovery, which are delivered in steps."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, TypeVar

from moorage.hub.recovery.sockets.track import Track, matches
from moorage.wire.commands import Selection

ConnectionT = TypeVar("ConnectionT")


class Sending:
    """A large emit. Others are carried out between its steps, so each step has the offset of its moment. A
    client whose connection ends may not have had this emit but later ones."""

    __slots__ = ("__weakref__", "_done", "_stamp", "position", "to")

    def __init__(self, to: Selection, position: int, stamp: Callable[[], bytes]) -> None:
        self.to = to
        self.position = position
        self._stamp = stamp
        """The payload with the current offset."""
        self._done: set[object] = set()
        """The connections that have got the emit."""

    def left(self, some: Collection[ConnectionT]) -> Collection[ConnectionT]:
        """The connections of `some` that have not got the emit."""
        done = self._done
        return some if done.isdisjoint(some) else [each for each in some if each not in done]

    def replayed(self, connection: object) -> None:
        """A client has come back, and gets all that it has missed."""
        self._done.add(connection)

    def step(self, some: Collection[object]) -> bytes:
        """The emit is delivered to `some` now. Returns the payload with the current offset."""
        self._done.update(some)
        return self._stamp()

    def has_missed(self, connection: object, track: Track[Any]) -> bool:
        """True if the emit would still be delivered to this connection, which has ended."""
        return connection not in self._done and matches(self.to, track)
