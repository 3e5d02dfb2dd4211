"""What one receiver has got of a sender's numbered messages."""

from __future__ import annotations

from enum import Enum

FIRST = 0


class Arrival(Enum):
    """How a message arrived."""

    NEW = 1
    LATE = 2
    """After a later one, but for the first time."""
    REPEATED = 3


class Sequence:
    """Numbers from 0 on. The gaps are remembered, so that a late message is not taken for a repeated one."""

    __slots__ = ("_gaps", "_next")

    def __init__(self) -> None:
        self._next = FIRST
        self._gaps: set[int] = set()

    def take(self, number: int) -> Arrival:
        """Note the arrival of a message."""
        if number == self._next:
            self._next += 1
            return Arrival.NEW
        if number > self._next:
            self._gaps.update(range(self._next, number))
            self._next = number + 1
            return Arrival.NEW
        if number in self._gaps:
            self._gaps.remove(number)
            return Arrival.LATE
        return Arrival.REPEATED
