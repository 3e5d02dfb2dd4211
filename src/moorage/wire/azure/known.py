"""Frames of one app server that need no parser, because a frame like them has been parsed before.

Nearly all frames of an app server that speaks the azure dialect are of three kinds: an answer to an event, a
send to one client, and one client's join or leave of rooms. Two frames of a kind
differ in the AckId, the client's id, the content and the lengths, and in nothing else. The first frame of
a kind is decoded by `tunnel_frames` and `dataplane`, which check everything. `KnownFrames` keeps the bytes
around the parts that differ.

A recognised frame means what the parsers would have found in it, for these reasons:

* The bytes outside the parts that differ are equal to those of a frame that the parsers have accepted.
* The AckId is a run of at most 15 digits without a leading zero: JSON reads the same number. The text begins
  with `{"AckId":` and has neither a second `"AckId"` nor an escape, so no later member replaces the first.
* The text's length, the content's length and the frame's length agree with the places where the parts end.
* The client's id ends at the `/` that follows it in the URL. It is used only if it is, byte for byte, the id
  of one of this app server's own connections (`CallHandler.own`). Ids of connections are base64url, so
  they hold no character that JSON or a URL would read as something else. Any other frame is decoded.
* Groups and client of a join are found by one expression that accepts base64url and nothing else around the
  fixed words of the body. `dataplane` gives the same command for such a body.

A frame that is not recognised is no error: it is decoded like the first one.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from moorage.wire.azure.dataplane import Operation, decode_url
from moorage.wire.azure.tunnel_frames import Request, Response
from moorage.wire.commands import JoinGroups, LeaveGroups, Selection, SendToConnection
from moorage.wire.errors import PeerError

MAX_ANSWER: Final = 520
"""Bytes of an answer with a text and a content of less than 256 bytes each."""
MAX_ANSWERS: Final = 64
"""Kinds of answers: there are three or four for each length of an AckId."""
MAX_BODY: Final = 1024
"""Bytes of a list of groups: far below the limits of `dataplane`."""

_ANSWER: Final = b"\x93\x02\xd9"
_REQUEST: Final = b"\x93\x01\xd9"
"""The array of three, the frame's type, and the mark of a text of less than 256 bytes."""
_LONG_REQUEST: Final = b"\x93\x01\xda"
"""The same for a text of less than 65,536 bytes: the URL names the hub, which may have a long name."""
_SHORT, _LONG = 0xC4, 0xC5
"""The marks of contents with one byte of length, and with two."""
_ACK_ID: Final = b'{"AckId":'
_TEXT: Final = 8
"""Where a short text begins. A long one begins one byte later."""
_DIGITS: Final = _TEXT + len(_ACK_ID)
"""Where the AckId begins in a short text."""
_MAX_DIGITS: Final = 15
_LEAST: Final = 32
"""Bytes of a frame below which it can be none of these calls."""


_GROUPS: Final = re.compile(
    rb'\{"groups":\["([A-Za-z0-9~_-]++(?:","[A-Za-z0-9~_-]++)*+)"\],'
    rb'"filter":"connectionId eq \'([A-Za-z0-9_-]++)\'"\}'
)
"""The body of the SDK's join or leave of one client. Names of rooms are base64url in it."""
_MAX_MOVES: Final = 4


class KnownCall(msgspec.Struct, gc=False):
    """A call about one client, whose id is not checked yet: see the module's text."""

    ack_id: int
    connection: str
    command: SendToConnection | JoinGroups | LeaveGroups
    like: Operation
    """The first call of its kind: this one is answered like it."""


class KnownFrames:
    """The frame patterns learned from one app server of `hub`. Frames of more than `limit` bytes are
    never recognised."""

    __slots__ = ("_after", "_answers", "_before", "_hub", "_limit", "_moves", "_send_like", "hits")

    def __init__(self, hub: str, limit: int) -> None:
        self.hits = 0
        """Frames that were recognised."""
        self._hub = hub
        self._limit = limit
        self._answers: dict[bytes, tuple[int, int]] = {}
        """All bytes of an answer but the AckId's digits and the content -> the number of digits, and of the
        bytes of the frame."""
        self._before: bytes | None = None
        """Of a send: the bytes between the AckId and the client's id."""
        self._after = b""
        """Of a send: the bytes from there to the end of the text."""
        self._send_like: Operation
        self._moves: dict[bytes, Operation] = {}
        """Of a join or leave: the bytes of the text behind the AckId -> the first such call."""

    def answer(self, data: bytes) -> tuple[int, bytes] | None:
        """The AckId and the content (b"" for nil), if `data` is an answer with status 200 like an earlier
        one."""
        size = len(data)
        if not _LEAST <= size <= MAX_ANSWER or not data.startswith(_ANSWER, 4):
            return None
        end = data.find(b",", _DIGITS)
        begins = _TEXT + 2 + data[_TEXT - 1]
        if self._answers.get(data[:_DIGITS] + data[end:begins]) != (end - _DIGITS, size):
            return None
        number = _number(data[_DIGITS:end])
        if number is None:
            return None
        self.hits += 1
        # A nil is one byte: then this ends behind the frame.
        return number, data[begins:]

    def learn_answer(self, data: bytes, answer: Response, content: bytes) -> None:
        """Keep the form of `data` if it is an answer with status 200. It was decoded as `answer`, the last
        one for its AckId."""
        size = len(data)
        if size > MAX_ANSWER or len(self._answers) == MAX_ANSWERS:
            return
        if answer.status_code != 200 or answer.not_completed or not data.startswith(_ANSWER, 4):
            return
        after = _TEXT + data[_TEXT - 1]
        if size != after + 1 and (data[after] != _SHORT or size != after + 2 + data[after + 1]):
            return
        end = data.find(b",", _DIGITS)
        if _names_one(data[_TEXT:after]) and _number(data[_DIGITS:end]) is not None:
            # The lengths are among the bytes that are kept: they hold for AckIds with as many digits.
            self._answers[data[:_DIGITS] + data[end : after + 2]] = end - _DIGITS, size

    def call(self, data: bytes) -> KnownCall | None:
        """The call, if `data` is a send to one client, or a join or leave of one client."""
        if not _LEAST <= len(data) <= self._limit:
            return None
        if data.startswith(_REQUEST, 4):
            begins = _TEXT
            after = _TEXT + data[7]
        elif data.startswith(_LONG_REQUEST, 4):
            begins = _TEXT + 1
            after = begins + (data[7] << 8 | data[8])
        else:
            return None
        digits = begins + len(_ACK_ID)
        end = data.find(b",", digits)
        number = _number(data[digits:end])
        if number is None or data[begins:digits] != _ACK_ID:
            return None
        before = self._before
        if before is not None and data.startswith(before, end):
            call = self._send(data, number, end + len(before), after)
        elif self._moves:
            call = self._move(data, number, end, after)
        else:
            return None
        self.hits += call is not None
        return call

    def _send(self, data: bytes, number: int, begins: int, after: int) -> KnownCall | None:
        ends = data.find(b"/", begins)
        if after != ends + len(self._after) or not data.startswith(self._after, ends):
            return None
        payload = _content(data, after)
        if not payload:
            return None
        connection = str(data[begins:ends], "latin-1")
        command = SendToConnection(self._hub, connection, payload)
        return KnownCall(number, connection, command, self._send_like)

    def _move(self, data: bytes, number: int, end: int, after: int) -> KnownCall | None:
        like = self._moves.get(data[end:after])
        content = _content(data, after)
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
        """Keep the form of `data`, which was decoded as `request`, if it is the first call of its kind."""
        if data.startswith(_REQUEST, 4):
            begins, after = _TEXT, _TEXT + data[7]
        elif data.startswith(_LONG_REQUEST, 4):
            begins, after = _TEXT + 1, _TEXT + 1 + int.from_bytes(data[7:9], "big")
        else:
            return
        if not _names_one(data[begins:after]):
            return
        end = data.find(b",", begins + len(_ACK_ID))
        send = self._before is None and b"/connections/" in data
        if not send and (len(self._moves) == _MAX_MOVES or not _GROUPS.fullmatch(content)):
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
            at = data.find(b"/%b/" % name, end) + 1
            if at and data.count(name, end, after) == 1:
                self._before, self._after = data[end:at], data[at + len(name) : after]
                self._send_like = operation
        elif isinstance(command, JoinGroups | LeaveGroups):
            self._moves[data[end:after]] = operation


def _names_one(text: bytes) -> bool:
    """Does the text begin with the AckId, and name no other? Of two, JSON's last would count."""
    return text.startswith(_ACK_ID) and text.count(b'"AckId"') == 1 and b"\\" not in text


def _number(digits: bytes) -> int | None:
    """The AckId that JSON would read; None for anything but plain digits."""
    if digits.isdigit() and digits[0] != 0x30 and len(digits) <= _MAX_DIGITS:
        return int(digits)
    return None


def _content(data: bytes, at: int) -> bytes | None:
    """The content, which begins at `at`; None unless all lengths are right."""
    size = len(data)
    if at + 3 > size or int.from_bytes(data[:4], "little") != size - 4:
        return None
    mark, first = data[at], data[at + 1]
    if mark == _SHORT and first == size - at - 2:
        return data[at + 2 :]
    if mark == _LONG and (first << 8 | data[at + 2]) == size - at - 3:
        return data[at + 3 :]
    return None
