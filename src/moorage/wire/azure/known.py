"""Frames of one app server that need no parser, because one like them has been parsed before.

Nearly all that an app server of the azure dialect sends is of three kinds: a plain answer to an event, a
send to one client, and one client's joining or leaving of rooms. Two frames of a kind differ in the
AckId, the client's id, the content and the lengths, and in nothing else. So the first of a kind is
decoded by `azure_tunnel` and `dataplane`, which check everything, and what stands around those places is
kept: a frame with the same bytes there says the same.

What is not recognised is no error: it is decoded as the first one was.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from moorage.wire.azure.dataplane import Operation, decode_url
from moorage.wire.azure.tunnel_frames import Request, Response
from moorage.wire.commands import JoinGroups, LeaveGroups, Selection, SendToConnection
from moorage.wire.errors import PeerError

MAX_ANSWER: Final = 265
"""Bytes of a frame whose text has less than 256, and no content."""
MAX_ANSWERS: Final = 64
"""Kinds of plain answers: two or three, for each number of digits that an AckId has."""

MAX_BODY: Final = 1024
"""Bytes of a list of groups: far from the limits that `dataplane` has for them."""

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


_GROUPS: Final = re.compile(
    rb'\{"groups":\["([A-Za-z0-9~_-]++(?:","[A-Za-z0-9~_-]++)*+)"\],'
    rb'"filter":"connectionId eq \'([A-Za-z0-9_-]++)\'"\}'
)
"""The body with which the SDK moves one client. Names of rooms are base64 in it."""
_MOST_MOVES: Final = 4


class KnownCall(msgspec.Struct, gc=False):
    """A call about one client. Its id is as it stands in the frame. One that nobody has may hold an
    escape: then the frame must be decoded in earnest."""

    ack_id: int
    connection: str
    command: SendToConnection | JoinGroups | LeaveGroups
    like: Operation
    """The first of its kind: they are answered alike."""


class KnownFrames:
    """What has been learned of the frames of one app server of `hub`. Frames of more than `limit` bytes
    are none of those."""

    __slots__ = ("_after", "_answers", "_before", "_hub", "_limit", "_moves", "_send_like")

    def __init__(self, hub: str, limit: int) -> None:
        self._hub = hub
        self._limit = limit
        self._answers: dict[bytes, int] = {}
        """All bytes but the AckId's digits -> how many digits."""
        self._before: bytes | None = None
        """Of sends: what stands between the AckId and the client's id."""
        self._after = b""
        """And from there to the end of the text."""
        self._send_like: Operation
        self._moves: dict[bytes, Operation] = {}
        """Of joins and leaves: what stands behind the AckId -> the first that was."""

    def answer(self, data: bytes) -> int | None:
        """The AckId, where `data` is an answer that says 200 and carries nothing."""
        if len(data) > MAX_ANSWER or not data.startswith(_ANSWER, 4):
            return None
        end = data.find(b",", _DIGITS)
        if self._answers.get(data[:_DIGITS] + data[end:]) == end - _DIGITS:
            return _number(data[_DIGITS:end])
        return None

    def learn_answer(self, data: bytes, answer: Response, content: bytes) -> None:
        """`data` was decoded as this answer, the last for its AckId. If it is a plain one, keep it."""
        if len(data) > MAX_ANSWER or len(self._answers) == MAX_ANSWERS:
            return
        if answer.status_code != 200 or answer.not_completed or content:
            return
        end = data.find(b",", _DIGITS)
        if _names_one(data) and _number(data[_DIGITS:end]) is not None:
            # The lengths are among the bytes that are kept: they hold for as many digits.
            self._answers[data[:_DIGITS] + data[end:]] = end - _DIGITS

    def call(self, data: bytes) -> KnownCall | None:
        """The call, where `data` is a send to one client, or puts one into groups or out of them."""
        if not data.startswith(_REQUEST, 4) or len(data) > self._limit:
            return None
        end = data.find(b",", _DIGITS)
        number = _number(data[_DIGITS:end])
        if number is None or data[_TEXT:_DIGITS] != _ACK_ID:
            return None
        before = self._before
        if before is not None and data.startswith(before, end):
            return self._send(data, number, end + len(before))
        return self._move(data, number, end) if self._moves else None

    def _send(self, data: bytes, number: int, begins: int) -> KnownCall | None:
        ends = data.find(b"/", begins)
        at = ends + len(self._after)
        if data[_TEXT - 1] != at - _TEXT or not data.startswith(self._after, ends):
            return None
        payload = _content(data, at)
        if not payload:
            return None
        connection = str(data[begins:ends], "latin-1")
        command = SendToConnection(self._hub, connection, payload)
        return KnownCall(number, connection, command, self._send_like)

    def _move(self, data: bytes, number: int, end: int) -> KnownCall | None:
        at = _TEXT + data[_TEXT - 1]
        like = self._moves.get(data[end:at])
        content = _content(data, at)
        if like is None or content is None or len(content) > MAX_BODY:
            return None
        body = _GROUPS.fullmatch(content)
        if body is None:
            return None
        groups = tuple(body[1].decode("ascii").split('","'))
        connection = body[2].decode("ascii")
        to = Selection(connection=connection)
        moved = JoinGroups if isinstance(like.command, JoinGroups) else LeaveGroups
        return KnownCall(number, connection, moved(self._hub, to, groups), like)

    def learn_call(self, data: bytes, request: Request, content: bytes) -> None:
        """`data` was decoded as this call. If it is the first of its kind, keep what the kind has in
        common."""
        if not (data.startswith(_REQUEST, 4) and _names_one(data)):
            return
        end, after = data.find(b",", _DIGITS), _TEXT + data[_TEXT - 1]
        send = self._before is None and b"/connections/" in data
        if not send and (len(self._moves) == _MOST_MOVES or not _GROUPS.fullmatch(content)):
            return
        try:
            operation = decode_url(request.http_method, request.url, request.content_type(), content)
        except PeerError:
            return
        command = operation.command
        if command.hub.casefold() != self._hub.casefold():
            return
        if isinstance(command, SendToConnection):
            name = command.connection.encode()
            begins = data.find(b"/%b/" % name, end) + 1
            if begins and data.count(name, end, after) == 1:
                self._before, self._after = data[end:begins], data[begins + len(name) : after]
                self._send_like = operation
        elif isinstance(command, JoinGroups | LeaveGroups):
            self._moves[data[end:after]] = operation


def _names_one(data: bytes) -> bool:
    """Does the text begin with the AckId, and name no other? Of two, JSON's last would count."""
    text = data[_TEXT : _TEXT + data[_TEXT - 1]]
    return text.startswith(_ACK_ID) and text.count(b'"AckId"') == 1 and b"\\" not in text


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
