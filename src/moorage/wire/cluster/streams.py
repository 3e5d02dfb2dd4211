"""The byte form of the numbers that nodes put in front of their messages (`cluster/streams/`).

A frame is: its kind, the sender, two numbers, marks, and a payload of any bytes. Each mark names a node and has
two numbers of its own. What the numbers mean depends on the kind:

| kind | first | second | marks |
|---|---|---|---|
| `ALL` | the message's number among those to all | 0 | nodes that got messages of their own since the last message to all: the last number of these, 0 |
| `DIRECT` | the message's number among those to this node | the last number to all | none |
| `BEAT` | the last number to all | 0 | nodes: the last number to this node, the last number to all when the sender met it |
| `ASK_ALL`, `ASK_DIRECT` | the first number that is missing | the last one | none |
| `GONE_ALL`, `GONE_DIRECT` | the first number that will not come | the last one | none |
"""  # noqa: E501 - the rows of a table

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Final

from moorage.wire.errors import PeerError
from moorage.wire.reasons import NODE_BAD_MESSAGE

ALL: Final = 1
DIRECT: Final = 2
BEAT: Final = 3
ASK_ALL: Final = 4
ASK_DIRECT: Final = 5
GONE_ALL: Final = 6
GONE_DIRECT: Final = 7

MAX_NUMBER: Final = 2**63
NUMBERS: Final = struct.Struct(">QQH")
"""What follows the prefix: the two numbers, and how many marks follow."""
_MARK: Final = struct.Struct(">QQ")

Mark = tuple[bytes, int, int]
Frame = tuple[int, bytes, int, int, tuple[Mark, ...], bytes]
"""Kind, sender, first number, second number, marks, payload. A plain tuple, as one is made per message."""


def prefix(kind: int, sender: bytes) -> bytes:
    """The beginning of all frames of this kind and sender."""
    return bytes((kind, len(sender))) + sender


def encode(
    prefix: bytes, first: int, second: int, payload: bytes = b"", marks: Iterable[Mark] | None = None
) -> bytes:
    """A frame with this `prefix`."""
    if marks is None:
        return prefix + NUMBERS.pack(first, second, 0) + payload
    rows = [bytes((len(node),)) + node + _MARK.pack(one, other) for node, one, other in marks]
    return b"".join((prefix, NUMBERS.pack(first, second, len(rows)), *rows, payload))


def decode(frame: bytes) -> Frame:
    """Raises `PeerError` (node-bad-message), whatever `frame` is."""
    try:
        kind = frame[0]
        at = 2 + frame[1]
        first, second, count = NUMBERS.unpack_from(frame, at)
        sender = frame[2:at]
        at += NUMBERS.size
        marks: tuple[Mark, ...] = ()
        if count:
            rows = []
            for _ in range(count):
                end = at + 1 + frame[at]
                one, other = _MARK.unpack_from(frame, end)
                rows.append((frame[at + 1 : end], one, other))
                at = end + 16
            marks = tuple(rows)
    except (IndexError, struct.error):
        raise PeerError(NODE_BAD_MESSAGE, "a frame that is too short") from None
    if not 0 < kind <= GONE_DIRECT or not sender or first >= MAX_NUMBER or second >= MAX_NUMBER:
        raise PeerError(NODE_BAD_MESSAGE, "a frame of another form")
    return kind, sender, first, second, marks, frame[at:]
