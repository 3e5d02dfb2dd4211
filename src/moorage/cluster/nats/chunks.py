"""Messages that are larger than the network carries travel as several chunks.

A frame begins with a byte that tells whether it is a whole message or a chunk. A chunk then names its sender,
the message's number, its own number and how many there are. The chunks of one sender arrive in order, so
anything else than the next one means that the message is lost.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

WHOLE: Final = b"\x00"
_CHUNK: Final = 1
_HEAD: Final = struct.Struct(">BB16sIII")
MAX_WAITING: Final = 256 * 1024 * 1024
"""Maximum bytes of incomplete messages. Beyond it, the oldest incomplete message is given up."""
MAX_NAMES: Final = 10_000
"""Maximum number of incomplete messages."""
MAX_SENDER: Final = 16
"""Maximum bytes of a sender's name."""


class BadFrame(Exception):
    """A frame that no node sends."""


class Cutter:
    """Cuts the messages of one sender."""

    def __init__(self, sender: str) -> None:
        self._sender = sender.encode()
        assert len(self._sender) <= MAX_SENDER
        self._number = 0

    def chunks(self, message: bytes, limit: int) -> Iterator[tuple[bytes, bytes]]:
        """Mark and content of each chunk. Together they are no longer than `limit`."""
        self._number = (self._number + 1) % 2**32
        room = limit - _HEAD.size
        count = -(-len(message) // room)
        for index in range(count):
            head = _HEAD.pack(_CHUNK, len(self._sender), self._sender, self._number, index, count)
            yield head, message[index * room : (index + 1) * room]


class _Waiting:
    """A message that is not complete yet."""

    __slots__ = ("chunks", "count", "number", "seen")

    def __init__(self, number: int, count: int) -> None:
        self.number = number
        self.count = count
        self.chunks: list[bytes] = []
        self.seen = 0
        """Number of chunks at the last `forget_idle`."""


class Joiner:
    """Makes messages of the chunks that arrive. `lost` counts those given up."""

    def __init__(self) -> None:
        self._waiting: dict[bytes, _Waiting] = {}
        """By sender, the oldest first."""
        self._bytes = 0
        self.lost = 0

    def message(self, frame: bytes) -> bytes | None:
        """The message that this chunk completes. Raises `BadFrame`."""
        if len(frame) < _HEAD.size or frame[0] != _CHUNK:
            raise BadFrame
        _, length, name, number, index, count = _HEAD.unpack_from(frame)
        sender = name[:length]
        if index >= count or not sender:
            raise BadFrame
        if index == 0:
            self._give_up(sender)
            self._waiting[sender] = _Waiting(number, count)
        found = self._waiting.get(sender)
        if found is None or (found.number, found.count, len(found.chunks)) != (number, count, index):
            self._give_up(sender)
            return None
        found.chunks.append(frame[_HEAD.size :])
        self._bytes += len(frame) - _HEAD.size
        if index + 1 == count:
            self._forget(sender)
            return b"".join(found.chunks)
        while self._bytes > MAX_WAITING or len(self._waiting) > MAX_NAMES:
            self._give_up(next(iter(self._waiting)))
        return None

    def clear(self) -> None:
        """The connection broke, so no incomplete message will be completed."""
        for sender in tuple(self._waiting):
            self._give_up(sender)

    def forget_idle(self) -> None:
        """Give up the messages that have not grown since the last call: their senders may have ended."""
        for sender, waiting in tuple(self._waiting.items()):
            if waiting.seen == len(waiting.chunks):
                self._give_up(sender)
            waiting.seen = len(waiting.chunks)

    def _give_up(self, sender: bytes) -> None:
        if sender in self._waiting:
            self._forget(sender)
            self.lost += 1

    def _forget(self, sender: bytes) -> None:
        self._bytes -= sum(map(len, self._waiting.pop(sender).chunks))
