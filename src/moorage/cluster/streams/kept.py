"""Messages that a node has sent lately, so that it can send them again."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import islice
from typing import Final

KEEP_SECONDS: Final = 10.0
"""Seconds for which a message is kept."""


class Kept:
    """The last frames of one stream: those to all nodes, or those to one. `last` is the last number."""

    __slots__ = ("_marks", "base", "changed", "frames", "last")

    def __init__(self, now: float, last: int = 0, base: int = 0) -> None:
        self.last = last
        self.base = base
        """The last number to all when this stream began."""
        self.frames: deque[bytes] = deque()
        """What is kept, the frame with the number `last` at the end."""
        self.changed = now
        """When the last message was added, or this stream began."""
        self._marks: deque[tuple[float, int]] = deque()
        """The last number at each tick that found a new one, the oldest first."""

    @property
    def first(self) -> int:
        """The number of the oldest frame that is kept; one above `last` if there is none."""
        return self.last + 1 - len(self.frames)

    @property
    def size(self) -> int:
        """The bytes that are kept. They are counted now."""
        return sum(map(len, self.frames))

    def between(self, first: int, last: int) -> Iterator[bytes]:
        """The frames with these numbers, which must be kept."""
        at = first - self.first
        return islice(self.frames, at, at + last - first + 1)

    def forget_old(self, now: float) -> int:
        """Time passes. Call it some times per second. Returns the bytes that are no longer kept."""
        marks = self._marks
        if not marks or marks[-1][1] != self.last:
            self.changed = now
            marks.append((now, self.last))
        freed = 0
        while len(marks) > 1 and marks[0][0] + KEEP_SECONDS <= now:
            freed += self._forget(marks.popleft()[1])
        if marks[0][0] + KEEP_SECONDS <= now:
            freed += self._forget(marks[0][1])
        return freed

    def forget_half(self) -> int:
        """Forget the older half, because all streams together take too much memory. Returns its bytes."""
        return self._forget(self.last - len(self.frames) // 2)

    def _forget(self, last: int) -> int:
        frames = self.frames
        return sum([len(frames.popleft()) for _ in range(last - self.first + 1)])
