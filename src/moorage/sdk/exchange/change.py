"""A change of an own socket's rooms that is on its way to the service. No I/O."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from moorage.sdk.clients.members import Member, Members
from moorage.sdk.errors import MoorageError, RequestFailed
from moorage.wire.moorage.v1 import FromApp

Make = Callable[[int], FromApp]
"""Builds a request around the reference that it gets."""


class RoomChange:
    """The tables have it already. It is confirmed when the answer is read, not when the caller goes on: a
    `Moved` later in the same batch is newer than the change."""

    def __init__(
        self,
        members: Members,
        member: Member,
        names: tuple[str, ...],
        *,
        make: Make,
        undo: Callable[[], object],
        lock: AbstractContextManager[object],
    ) -> None:
        self.member = member
        self.make = make
        """The request to send."""
        self._members = members
        self._names = names
        self._undo = undo
        self._lock = lock
        self._ended = False
        members.begin(member, names)

    def ended(self, error: MoorageError | None) -> None:
        """The change was made (`error` is None) or refused (`RequestFailed`), or its outcome is unknown.
        Later calls do nothing."""
        self._end(undo=isinstance(error, RequestFailed))

    def abandon(self) -> None:
        """The request was never sent, unless `ended` has been called."""
        self._end(undo=True)

    def _end(self, *, undo: bool) -> None:
        with self._lock:
            if self._ended:
                return
            self._ended = True
            self._members.confirm(self.member, self._names)
            if undo:
                self._undo()
