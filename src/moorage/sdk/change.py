"""A change of an own socket's rooms that is on its way to the service."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from moorage.sdk.errors import MoorageError, RequestFailed
from moorage.sdk.members import Member, Members
from moorage.sdk.session import End, Part


class Change:
    """`Answers` of a change of an own socket's rooms. It counts as made when the answer is read and not
    when who asked goes on: a `Moved` that comes in the same batch is news already."""

    def __init__(
        self,
        members: Members,
        member: Member,
        names: tuple[str, ...],
        undo: Callable[[], object],
        done: asyncio.Future[None],
    ) -> None:
        self._members = members
        self._member = member
        self._names = names
        self._undo = undo
        self._done = done

    def part(self, frame: Part) -> None:
        """There is none."""

    def end(self, frame: End) -> None:
        """It is made."""
        self._members.confirm(self._member, self._names)
        if not self._done.done():
            self._done.set_result(None)

    def failed(self, error: MoorageError) -> None:
        """It was refused, or nobody knows."""
        self._members.confirm(self._member, self._names)
        if isinstance(error, RequestFailed):
            self._undo()
        if not self._done.done():
            self._done.set_exception(error)
