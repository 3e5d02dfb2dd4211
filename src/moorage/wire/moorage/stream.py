"""Numbered batches, credit and replay, so that a link may break without loss or reordering.

Both ends run the same two halves. A sender keeps a batch until the other end has *taken* it, and at most a
window of bytes may be untaken. An acknowledgement does three jobs: it returns credit, it frees the replay
copy, and after an interruption it marks the point at which to continue."""

from __future__ import annotations

from collections import deque
from typing import Final

from moorage.wire.errors import PeerError
from moorage.wire.moorage.v1 import encode_batch
from moorage.wire.reasons import LINK_BAD_FRAME

BATCH_BYTES: Final = 256 * 1024
"""A batch collects frames up to this size. Only a single larger frame makes a larger batch, so a sender
whose frames are below the other end's `max_batch` never sends too large a batch. With small batches the
other end returns credit in portions, and little is repeated after an interruption."""

ACK_FRAMES: Final = 64
"""An app server acknowledges at once after this many frames, because a client that floods waits for it."""


class Outgoing:
    """The sending half. `queue` finished frames, `take` batches."""

    __slots__ = ("_kept", "_waiting", "acknowledged", "in_flight", "last", "waiting", "window")

    def __init__(self, window: int) -> None:
        self.window = window
        """Maximum untaken bytes, from the other end's hello."""
        self.waiting = 0
        """Bytes that are queued and not yet in a batch."""
        self.in_flight = 0
        """Bytes that were sent and are not yet taken."""
        self._waiting: deque[bytes] = deque()
        self._kept: deque[bytes] = deque()
        self.last = 0
        """The number of the newest batch."""
        self.acknowledged = 0
        """The number of the newest batch that the other end has taken."""

    @property
    def blocked(self) -> bool:
        """True if the credit is used up."""
        return self.in_flight >= self.window

    def queue(self, frame: bytes) -> None:
        """Append an encoded frame."""
        self._waiting.append(frame)
        self.waiting += len(frame)

    def unsent(self) -> list[bytes]:
        """The frames that are queued and not yet in a batch, in order."""
        return list(self._waiting)

    @property
    def kept(self) -> tuple[bytes, ...]:
        """The batches that were sent and that the other end has not taken, in order."""
        return tuple(self._kept)

    def take(self, ack: int) -> bytes | None:
        """The next batch, if a frame waits and there is credit. The batch may exceed the window;
        otherwise a frame larger than the window could never be sent."""
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
        self.last += 1
        batch = encode_batch(self.last, ack, frames)
        self._kept.append(batch)
        self.in_flight += len(batch)
        return batch

    def taken(self, ack: int) -> None:
        """Note that the other end has taken all batches up to `ack`. An old value is ignored, because a
        replayed batch carries an old ack. Raises `PeerError` for a number that was never sent."""
        if ack > self.last:
            raise PeerError(LINK_BAD_FRAME, f"ack {ack} of {self.last}")
        while self.acknowledged < ack:
            self.acknowledged += 1
            self.in_flight -= len(self._kept.popleft())

    def resume(self, received: int) -> list[bytes]:
        """The batches to send again after an interruption. `received` is the highest number that the
        other end has received. Raises `PeerError` if that number is impossible."""
        if received < self.acknowledged:
            raise PeerError(LINK_BAD_FRAME, f"received {received}, but took {self.acknowledged} before")
        self.taken(received)
        return list(self._kept)


class Incoming:
    """The receiving half."""

    __slots__ = ("_acked", "_frames", "_untold", "ack", "received", "untaken", "window")

    def __init__(self, window: int) -> None:
        self.window = window
        """Maximum untaken bytes that this end accepts."""
        self.received = 0
        """The highest number received."""
        self.ack = 0
        """The highest number taken: the ack of the next batch to the other end."""
        self._acked = 0
        self.untaken = 0
        """Bytes that were received and are not yet taken."""
        self._untold = 0
        self._frames = 0
        """Frames received since the last acknowledgement."""

    def arrived(self, number: int, size: int, frames: int = 0) -> bool:
        """Note a received batch; False if it is a repetition. `frames` is the number of its frames: an
        acknowledgement is due after `ACK_FRAMES` of them. Raises `PeerError` for a gap, which is a fault
        of the other end, because a WebSocket loses nothing."""
        if number <= self.received:
            return False
        if number != self.received + 1:
            raise PeerError(LINK_BAD_FRAME, f"batch {number} after {self.received}")
        self.received = number
        self.untaken += size
        self._frames += frames
        return True

    def take_all(self) -> None:
        """Note that all received batches are taken."""
        self.ack = self.received
        # Counted separately: an ack sent before this call does not cover these bytes.
        self._untold += self.untaken
        self.untaken = 0

    def take(self, number: int, size: int) -> None:
        """Note that batch `number`, the next in order, is taken; `size` is its size as received."""
        self.ack = number
        self._untold += size
        self.untaken -= size

    @property
    def has_news(self) -> bool:
        """True if a batch was taken and not yet acknowledged."""
        return self.ack != self._acked

    @property
    def is_due(self) -> bool:
        """True if an acknowledgement is due at once: after a quarter of the window, or many frames."""
        return self.has_news and (self._untold * 4 >= self.window or self._frames >= ACK_FRAMES)

    def told(self) -> int:
        """Return the ack and note that it is sent. Call this only for a batch that is sent: call
        `take(incoming.ack)` first, and `told` if it returned a batch."""
        if self.ack != self._acked:
            self._acked = self.ack
            self._untold = 0
            self._frames = 0
        return self.ack
