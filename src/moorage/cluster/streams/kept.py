"""Messages that a node has sent lately, so that it can send them again."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import islice
from typing import Final

from moorage.wire.cluster import streams

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
        """The kept frames. The last one has the number `last`."""
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


class LastSent:
    """The latest messages to a node that is gone: those to all nodes, and those to that node."""

    def __init__(self, direct: Kept, to_all: Kept, *, start: int) -> None:
        self._direct, self._first_direct = tuple(direct.frames), direct.first
        self._all, self._first_all = tuple(to_all.frames), to_all.first
        self._start = start
        """The first number of the present stream to the node."""
        self._base = direct.base

    def since(self, next_all: int, next_direct: int) -> Iterator[bytes] | None:
        """The messages from these numbers on, in order; 0 for all since the two nodes met. None if some of
        them are not kept, or if the numbers are from before."""
        next_all = next_all or self._base + 1
        next_direct = next_direct or self._start
        if next_all < self._first_all or next_direct < max(self._start, self._first_direct):
            return None
        return self._merged(next_all - self._first_all, next_direct - self._first_direct)

    def _merged(self, at: int, at_direct: int) -> Iterator[bytes]:
        for frame in self._direct[at_direct:]:
            _, _, _, behind, _, message = streams.decode(frame)
            while at < len(self._all) and self._first_all + at <= behind:
                yield _message(self._all[at])
                at += 1
            yield message
        yield from map(_message, self._all[at:])


def _message(frame: bytes) -> bytes:
    return streams.decode(frame)[-1]
