"""Frames of one app server that need no parser, because one like them has been parsed before.

Nearly all that an app server of the azure dialect sends is of two kinds: a plain answer to an event,
and a send to one client. Two frames of a kind differ in the AckId, the client's id, the content and
the lengths, and in nothing else. So the first of a kind is decoded by `azure_tunnel` and `dataplane`,
which check everything, and what stands around those places is kept: a frame with the same bytes there
says the same.

What is not recognised is no error: it is decoded as the first one was.
"""

from __future__ import annotations

from typing import Final

import msgspec

from moorage.wire.azure_tunnel import Request
from moorage.wire.commands import SendToConnection
from moorage.wire.dataplane import decode_url
from moorage.wire.errors import PeerError

MAX_ANSWER: Final = 265
"""Bytes of a frame whose text has less than 256, and no content."""
MAX_ANSWERS: Final = 64
"""Kinds of plain answers: two or three, for each number of digits that an AckId has."""

_ANSWER: Final = b"\x93\x02\xd9"
_REQUEST: Final = b"\x93\x01\xd9"
"""The array of three, the frame's type, and the mark of a text of less than 256 bytes."""
_SHORT, _LONG = 0xC4, 0xC5
"""The marks of contents with one byte of length, and with two."""
_ACK_ID: Final = b'{"AckId":'
_TEXT: Final = 8
_DIGITS: Final = _TEXT + len(_ACK_ID)
"""Where the text begins, and in it the AckId."""
_MOST_DIGITS: Final = 15


class KnownSend(msgspec.Struct, gc=False):
    """A send to one client. Its id is as it stands in the frame. One that nobody has may hold an
    escape: then the frame must be decoded in earnest."""

    ack_id: int
    connection: str
    payload: bytes


class KnownFrames:
    """What has been learned of the frames of one app server of `hub`."""

    __slots__ = ("_after", "_answers", "_before", "_hub")

    def __init__(self, hub: str) -> None:
        self._hub = hub
        self._answers: dict[bytes, int] = {}
        """All bytes but the AckId's digits -> how many digits."""
        self._before: bytes | None = None
        """Of sends: what stands between the AckId and the client's id."""
        self._after = b""
        """And from there to the end of the text."""

    def answer(self, data: bytes) -> int | None:
        """The AckId, where `data` is an answer that says 200 and carries nothing."""
        if len(data) > MAX_ANSWER or not data.startswith(_ANSWER, 4):
            return None
        end = data.find(b",", _DIGITS)
        if self._answers.get(data[:_DIGITS] + data[end:]) == end - _DIGITS:
            return _number(data[_DIGITS:end])
        return None

    def learn_answer(self, data: bytes) -> None:
        """`data` was decoded as an answer that says 200, is the last for its AckId and carries nothing."""
        if len(data) > MAX_ANSWER or len(self._answers) == MAX_ANSWERS:
            return
        end = data.find(b",", _DIGITS)
        if data.startswith(_ACK_ID, _TEXT) and _number(data[_DIGITS:end]) is not None:
            # The lengths are among the bytes that are kept: they hold for as many digits.
            self._answers[data[:_DIGITS] + data[end:]] = end - _DIGITS

    def send(self, data: bytes) -> KnownSend | None:
        """The call, where `data` is a send to one client."""
        before, after = self._before, self._after
        if before is None or not data.startswith(_REQUEST, 4):
            return None
        end = data.find(b",", _DIGITS)
        begins = end + len(before)
        ends = data.find(b"/", begins)
        if not (data.startswith(before, end) and data.startswith(after, ends)):
            return None
        at = ends + len(after)
        payload = _content(data, at)
        number = _number(data[_DIGITS:end])
        if number is None or not payload or data[_TEXT - 1] != at - _TEXT or data[_TEXT:_DIGITS] != _ACK_ID:
            return None
        return KnownSend(number, str(data[begins:ends], "latin-1"), payload)

    def learn_send(self, data: bytes, request: Request, content: bytes) -> None:
        """`data` was decoded as this call. If it is the first send to one client, keep what sends have in
        common."""
        if self._before is not None or b"/connections/" not in data or not data.startswith(_REQUEST, 4):
            return
        try:
            command = decode_url(request.http_method, request.url, request.content_type(), content).command
        except PeerError:
            return
        if isinstance(command, SendToConnection) and command.hub.casefold() == self._hub.casefold():
            name = command.connection.encode()
            end = data.find(b",", _DIGITS)
            begins = data.find(b"/%b/" % name, end) + 1
            after = _TEXT + data[_TEXT - 1]
            if begins and data.startswith(_ACK_ID, _TEXT) and data.count(name, end, after) == 1:
                self._before, self._after = data[end:begins], data[begins + len(name) : after]


def _number(digits: bytes) -> int | None:
    """An AckId as JSON writes it; None for anything else."""
    if digits.isdigit() and digits[0] != 0x30 and len(digits) <= _MOST_DIGITS:
        return int(digits)
    return None


def _content(data: bytes, at: int) -> bytes | None:
    """The last part of a frame, from `at` on, where the frame's lengths are right."""
    size = len(data)
    if at + 3 > size or int.from_bytes(data[:4], "little") != size - 4:
        return None
    mark, first = data[at], data[at + 1]
    if mark == _SHORT and first == size - at - 2:
        return data[at + 2 :]
    if mark == _LONG and (first << 8 | data[at + 2]) == size - at - 3:
        return data[at + 3 :]
    return None
