"""A link that may break without loss or reorder: numbered batches, credit, replay.

Both ends run the same two halves. A batch stays with its sender until the other end has *taken*
it, and at most a window of bytes may be untaken. So one acknowledgement does three jobs: it gives
back credit, it frees the replay copy, and after a cut it says where to go on.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from moorage.wire.errors import PeerError
from moorage.wire.moorage.v1 import encode_batch
from moorage.wire.reasons import LINK_BAD_FRAME

BATCH_BYTES: Final = 256 * 1024
"""Frames are gathered up to this much; only a frame that is larger by itself makes a larger batch, so
whoever keeps frames below the other end's `max_batch` never sends too large a batch. The other end
takes a batch in one piece, gives credit back in portions, and a cut repeats little."""

ACK_FRAMES: Final = 64
"""Frames that an app server acknowledges at once: clients that send very much at once wait for it."""


class Outgoing:
    """The sending half. `queue` finished frames, `take` batches."""

    __slots__ = ("_kept", "_last", "_taken", "_waiting", "in_flight", "waiting", "window")

    def __init__(self, window: int) -> None:
        self.window = window
        """Bytes that the other end takes untaken; it says so in its hello."""
        self.waiting = 0
        """Bytes queued and in no batch yet."""
        self.in_flight = 0
        """Bytes sent and not taken."""
        self._waiting: deque[bytes] = deque()
        self._kept: deque[bytes] = deque()
        self._last = 0
        self._taken = 0

    @property
    def blocked(self) -> bool:
        """The credit is used up."""
        return self.in_flight >= self.window

    @property
    def last(self) -> int:
        """The number of the newest batch."""
        return self._last

    @property
    def acknowledged(self) -> int:
        """The number of the newest batch that the other end has taken."""
        return self._taken

    def queue(self, frame: bytes) -> None:
        """At the end, in no batch yet."""
        self._waiting.append(frame)
        self.waiting += len(frame)

    def unsent(self) -> list[bytes]:
        """What is queued and in no batch yet, in order."""
        return list(self._waiting)

    def take(self, ack: int) -> bytes | None:
        """The next batch, if something waits and there is credit. It may overshoot the window by
        itself: a frame larger than the window would never leave otherwise."""
        if not self._waiting or self.blocked:
            return None
        frames: list[bytes] = []
        size = 0
        if self.waiting <= BATCH_BYTES:
            frames.extend(self._waiting)
            size = self.waiting
            self._waiting.clear()
        else:
            while self._waiting and (not frames or size + len(self._waiting[0]) <= BATCH_BYTES):
                size += len(self._waiting[0])
                frames.append(self._waiting.popleft())
        self.waiting -= size
        self._last += 1
        batch = encode_batch(self._last, ack, frames)
        self._kept.append(batch)
        self.in_flight += len(batch)
        return batch

    def taken(self, ack: int) -> None:
        """The other end has taken all up to `ack`. An old value is no news: a replayed batch carries
        what was true when it was made. Raises `PeerError` for a number that was never sent."""
        if ack > self._last:
            raise PeerError(LINK_BAD_FRAME, f"ack {ack} of {self._last}")
        while self._taken < ack:
            self._taken += 1
            self.in_flight -= len(self._kept.popleft())

    def resume(self, received: int) -> list[bytes]:
        """After a cut: the other end has `received` all up to there; the batches to send again.
        Raises `PeerError` where that cannot be true."""
        if received < self._taken:
            raise PeerError(LINK_BAD_FRAME, f"received {received}, but took {self._taken} before")
        self.taken(received)
        return list(self._kept)


class Incoming:
    """The receiving half."""

    __slots__ = ("_acked", "_frames", "_untaken", "_untold", "ack", "received", "window")

    def __init__(self, window: int) -> None:
        self.window = window
        """Bytes that this end takes untaken."""
        self.received = 0
        """The highest number that came."""
        self.ack = 0
        """The highest number taken: what the next batch to the other end shall carry."""
        self._acked = 0
        self._untaken = 0
        self._untold = 0
        self._frames = 0
        """Frames that came since the last acknowledgement."""

    def arrived(self, number: int, size: int, frames: int = 0) -> bool:
        """A batch came; False for one that was here before. `frames` is the number of its frames: after
        `ACK_FRAMES` of them an acknowledgement is due. Raises `PeerError` for a gap: a WebSocket loses
        nothing, so the other end has lost count."""
        if number <= self.received:
            return False
        if number != self.received + 1:
            raise PeerError(LINK_BAD_FRAME, f"batch {number} after {self.received}")
        self.received = number
        self._untaken += size
        self._frames += frames
        return True

    def take_all(self) -> None:
        """All that came is taken."""
        self.ack = self.received
        # Apart from what came: an ack sent in between must not make this look acknowledged.
        self._untold += self._untaken
        self._untaken = 0

    @property
    def untaken(self) -> int:
        """Bytes that came and are not taken."""
        return self._untaken

    def take(self, number: int, size: int) -> None:
        """Batch `number`, the next one in order, is taken; `size` as it was when it arrived."""
        self.ack = number
        self._untold += size
        self._untaken -= size

    @property
    def has_news(self) -> bool:
        """Something was taken that the other end does not know of."""
        return self.ack != self._acked

    @property
    def is_due(self) -> bool:
        """So much that it should be told at once: a quarter of the window, or many frames."""
        return self.has_news and (self._untold * 4 >= self.window or self._frames >= ACK_FRAMES)

    def told(self) -> int:
        """The ack, on its way to the other end. Only for a batch that does leave: `take(incoming.ack)`
        first, and `told` where that gave a batch."""
        if self.ack != self._acked:
            self._acked = self.ack
            self._untold = 0
            self._frames = 0
        return self.ack
