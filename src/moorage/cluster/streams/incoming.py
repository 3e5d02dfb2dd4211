"""What one node sends to this one, in its order. There are two streams: to all nodes, and to this node.

A message waits until all that were sent before it are here. A message to this node tells the last number to
all before it; a message to all tells the last number to this node before it, if there were any since the
last message to all. So the order holds across both streams.
"""

from __future__ import annotations

from typing import Final

from moorage.wire.cluster.streams import ALL, ASK_ALL, ASK_DIRECT, DIRECT

EPOCH_BITS: Final = 40
"""A number to one node has an epoch above these bits. It grows each time the sender meets this node anew."""
MAX_JUMP: Final = 1 << 32
"""Largest distance of a number from the next one. The sender cannot have reached a higher number."""

Hole = tuple[int, int, int]
"""The kind of the question for it, the first number that is missing, and the last one."""


class _Stream:
    """One of the two streams."""

    __slots__ = ("held", "next", "seen")

    def __init__(self) -> None:
        self.next = 0
        """The number that comes next."""
        self.seen = -1
        """The highest number known to have been sent; -1 if none is."""
        self.held: dict[int, tuple[int, bytes]] = {}
        """Messages that came too early: what they wait for in the other stream, and the payload."""

    def hole(self) -> tuple[int, int] | None:
        if self.next > self.seen or self.next in self.held:
            return None
        return self.next, min(self.held) - 1 if self.held else self.seen


class Incoming:
    """The streams of the node `name`. Take a message with `is_next`, or else with `hold` and then `pop`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.held_bytes = 0
        self.is_late = False
        """True if `pop` has given up a message. The caller resets it."""
        self.stuck: float | None = None
        """When the present hole was noticed."""
        self.gaps = 0
        """Number of gaps since the last tick."""
        self.astray: float | None = None
        """Since this time, every heartbeat has had lower numbers than were taken."""
        self.asked: tuple[float, tuple[int, int]] = (0.0, (0, 0))
        """When the missing messages were requested, and the next numbers of the streams at that time."""
        self._all = _Stream()
        self._direct = _Stream()
        self._all.next = 1

    # -- where the streams are -----------------------------------------------------------------------

    @property
    def position(self) -> tuple[int, int]:
        """The next number of each stream."""
        return self._all.next, self._direct.next

    def begin(self, last_all: int, direct: tuple[int, int] | None, past: tuple[int, int]) -> None:
        """The first heartbeat of a node. `direct` is what it says of this node, if anything; `past` is where
        the streams were when the node was lost, or (1, 0).

        A node that has met this one anew owes everything since then. Otherwise what was missed stays missed:
        the layer above was told that the node was gone.
        """
        self._all.next, self._direct.next = last_all + 1, past[1]
        if direct is not None:
            last, base = direct
            if last >> EPOCH_BITS > past[1] >> EPOCH_BITS:
                self._direct.next = _start(last)
                self._all.next = max(past[0], min(base, last_all) + 1)
            else:
                self._direct.next = max(past[1], last + 1)
            self._direct.seen = last
        self._all.seen = last_all

    def hear(self, last_all: int, last_direct: int) -> bool:
        """The sender has sent the messages up to these numbers; -1 if nothing is known. False if it has met
        this node anew, so that something may be lost."""
        self._all.seen = max(self._all.seen, last_all)
        met = self._meet(last_direct)
        self._direct.seen = max(self._direct.seen, last_direct)
        return met

    def is_astray(self, last_all: int, last_direct: int) -> bool:
        """True if higher numbers were taken than the sender has reached, so that a message was forged, or the
        heartbeat with these numbers is an old one."""
        return last_all + 1 < self._all.next or 0 <= last_direct < self._direct.next - 1

    def restart(self, last_all: int, last_direct: int) -> None:
        """Go on behind these numbers, which the sender has really reached; -1 if nothing is known."""
        for stream, last in ((self._all, last_all), (self._direct, last_direct)):
            self._drop(stream)
            if last >= 0:
                stream.next, stream.seen = last + 1, last

    def _meet(self, number: int) -> bool:
        direct = self._direct
        if number >> EPOCH_BITS <= direct.next >> EPOCH_BITS:
            return True
        first = not direct.next
        direct.next = _start(number)
        self._drop(direct)
        return first

    # -- messages --------------------------------------------------------------------------------------

    def is_next(self, kind: int, number: int, last_all: int) -> bool:
        """True if this is the next message, which is now taken. A message to all must have no mark."""
        stream = self._all
        if kind == DIRECT:
            if last_all + 1 != stream.next:
                return False
            stream = self._direct
        elif kind != ALL:
            return False
        if number != stream.next or self.held_bytes:
            return False
        stream.next = number + 1
        return True

    def is_new(self, number: int, *, direct: bool) -> bool:
        """False for a message that was taken or is held, and for a number above those of the sender."""
        stream = self._direct if direct else self._all
        if number < stream.next or number in stream.held:
            return False
        return number - stream.next < MAX_JUMP or (
            direct and number >> EPOCH_BITS > stream.next >> EPOCH_BITS
        )

    def hold(self, number: int, behind: int, payload: bytes, *, direct: bool) -> None:
        """Keep a new message until it can be taken with `pop`. `behind` is the number of the other stream
        that it waits for."""
        stream = self._direct if direct else self._all
        stream.seen = max(stream.seen, number)
        stream.held[number] = behind, payload
        # At least 1, so that this is 0 only if nothing is held.
        self.held_bytes += len(payload) + 1

    def pop(self) -> bytes | None:
        """The next message, which is now taken."""
        while (found := self._pop(self._all, self._direct.next)) is None:
            found = self._pop(self._direct, self._all.next)
            if found is None:
                return None
            if found[0] + 1 == self._all.next:
                break
            # A message to all names the messages to this node that were sent before it. Where one to all was
            # given up, the next one did not wait for this message, which is now too late.
            self.is_late = True
        return found[1]

    def _pop(self, stream: _Stream, other: int) -> tuple[int, bytes] | None:
        found = stream.held.get(stream.next)
        if found is None or found[0] >= other:
            return None
        del stream.held[stream.next]
        stream.next += 1
        self.held_bytes -= len(found[1]) + 1
        return found

    # -- what is missing -------------------------------------------------------------------------------

    def holes(self) -> list[Hole]:
        """What is missing in front of the next message, at most one hole in each stream."""
        found = (ASK_ALL, self._all.hole()), (ASK_DIRECT, self._direct.hole())
        return [(kind, *hole) for kind, hole in found if hole is not None]

    def skip(self, last: int, *, direct: bool) -> int:
        """Do not wait for the messages up to `last` any more. Returns how many are given up."""
        stream = self._direct if direct else self._all
        hole = stream.hole()
        if hole is None or last < stream.next:
            return 0
        behind = min(last, hole[1]) + 1
        given_up, stream.next = behind - stream.next, behind
        return given_up

    def _drop(self, stream: _Stream) -> None:
        self.held_bytes -= sum(len(payload) + 1 for _, payload in stream.held.values())
        stream.held.clear()


def _start(number: int) -> int:
    """The first number of an epoch."""
    return number >> EPOCH_BITS << EPOCH_BITS | 1
