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
  Of a call these places follow from its first bytes, so they are computed once for all frames that begin
  alike (`_Lengths`). Of an answer they follow from the bytes that are kept and the frame's length.
* The client's id is what stands between the equal bytes of the URL. It is used only if it is, byte for byte,
  the id of one of this app server's own connections (`AzureServer.received`). Ids of connections are
  base64url, so they hold no character that JSON or a URL would read as something else. Any other frame is
  decoded.
* Groups and client of a join are found by one expression that accepts base64url and nothing else around the
  fixed words of the body. `dataplane` gives the same command for such a body.

A frame that is not recognised is no error: it is decoded like the first one.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

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

LEAST: Final = 32
"""Bytes of a frame below which it can be none of these calls."""
TYPE: Final = 5
"""Where the type of a frame of `LEAST` bytes or more stands, if it can be one of these."""
_ARRAY: Final = 4
"""Where the frame's array begins, behind its length."""
_ANSWER: Final = b"\x93\x02\xd9"
_REQUEST: Final = b"\x93\x01\xd9"
"""The array of three, the frame's type, and the mark of a text of less than 256 bytes."""
_LONG_REQUEST: Final = b"\x93\x01\xda"
"""The same for a text of less than 65,536 bytes: the URL names the hub, which may have a long name."""
_SHORT, _LONG = 0xC4, 0xC5
"""The marks of contents with one byte of length, and with two."""
_MAX_LENGTHS: Final = 256
_ACK_ID: Final = b'{"AckId":'
_TEXT: Final = 8
"""Where a short text begins. A long one begins one byte later."""
_DIGITS: Final = _TEXT + len(_ACK_ID)
"""Where the AckId begins in a short text."""
_CONTENT: Final = _TEXT + 2
"""Where the content of an answer begins, if its text had no bytes."""
_MAX_DIGITS: Final = 15
_ZERO: Final = ord("0")
_HEAD: Final = _DIGITS + 1
"""Bytes of a call that hold its lengths, its marks, and what stands before the AckId, in both forms."""


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
    like: Operation
    """The first call of its kind: this one is answered like it."""
    payload: bytes
    """What to send; b"" for a join or leave."""
    groups: tuple[str, ...] = ()
    """The groups of a join or leave."""

    @property
    def command(self) -> SendToConnection | JoinGroups | LeaveGroups:
        """The call as a command."""
        hub = self.like.command.hub
        if self.payload:
            return SendToConnection(hub, self.connection, self.payload)
        moved = JoinGroups if isinstance(self.like.command, JoinGroups) else LeaveGroups
        return moved(hub, Selection(connection=self.connection), self.groups)


class _Lengths(NamedTuple):
    """What follows from the first bytes of a call."""

    size: int
    """Bytes of the frame."""
    digits: int
    """Where the AckId's digits begin."""
    after: int
    """Where the text ends."""
    content: int
    """Where the content begins."""
    mark: bytes
    """What must stand between the two: the mark and the length of the content."""
    ends: int
    """Where the client's id ends, if it is a send."""
    tail: bytes
    """What must stand between this place and the content then."""


class KnownFrames:
    """The frame patterns learned from one app server of `hub`. Frames of more than `limit` bytes are
    never recognised."""

    __slots__ = (
        "_after", "_answers", "_before", "_hub", "_lengths", "_limit", "_moves", "_send_like", "decoded",
    )  # fmt: skip

    def __init__(self, hub: str, limit: int) -> None:
        self.decoded = 0
        """Calls and answers that were not recognised."""
        self._hub = hub
        self._limit = limit
        self._answers: dict[bytes, int] = {}
        """All bytes of an answer but the AckId's digits and the content -> the bytes of the frame."""
        self._lengths: dict[bytes, _Lengths] = {}
        """By the first bytes of a call."""
        self._before = b""
        """Of a send: the bytes between the AckId and the client's id. Empty before the first send."""
        self._after = b""
        """Of a send: the bytes from there to the end of the text."""
        self._send_like: Operation
        self._moves: dict[bytes, Operation] = {}
        """Of a join or leave: the bytes of the text behind the AckId -> the first such call."""

    def answer(self, data: bytes) -> tuple[int, bytes] | None:
        """The AckId and the content (b"" for nil), if `data` is an answer with status 200 like an earlier
        one. It has at least `LEAST` bytes."""
        end = data.find(b",", _DIGITS)
        # The text's length is among the bytes that are kept. So if these and the frame's length are equal,
        # the digits are as many as those of the earlier frame, too.
        begins = _CONTENT + data[_TEXT - 1]
        digits = data[_DIGITS:end]
        known = self._answers.get(data[:_DIGITS] + data[end:begins]) == len(data)
        if not known or not digits.isdigit() or digits[0] == _ZERO:
            return None
        # A nil is one byte: then this ends behind the frame.
        return int(digits), data[begins:]

    def learn_answer(self, data: bytes, answer: Response, content: bytes) -> None:
        """Keep the form of `data` if it is an answer with status 200. It was decoded as `answer`, the last
        one for its AckId."""
        self.decoded += 1
        size = len(data)
        if size > MAX_ANSWER or len(self._answers) == MAX_ANSWERS:
            return
        if answer.status_code != 200 or answer.not_completed or not data.startswith(_ANSWER, _ARRAY):
            return
        after = _TEXT + data[_TEXT - 1]
        if size != after + 1 and (data[after] != _SHORT or size != after + 2 + data[after + 1]):
            return
        end = data.find(b",", _DIGITS)
        digits = data[_DIGITS:end]
        if _names_one(data[_TEXT:after]) and digits.isdigit() and len(digits) <= _MAX_DIGITS:
            self._answers[data[:_DIGITS] + data[end : after + 2]] = size

    def call(self, data: bytes) -> KnownCall | None:
        """The call, if `data` is a send to one client, or a join or leave of one client. It has at least
        `LEAST` bytes."""
        lengths = self._lengths.get(data[:_HEAD]) or self._measure(data)
        if lengths is None:
            return None
        # Slices are compared, because `startswith` and `find` with a place cost 20 ns more.
        size, begins, after, content, mark, ends, tail = lengths
        end = data.find(b",", begins)
        digits = data[begins:end]
        if len(data) != size or not digits.isdigit() or digits[0] == _ZERO or len(digits) > _MAX_DIGITS:
            return None
        before = self._before
        name = end + len(before)
        if before and data[end:name] == before and data[ends:content] == tail:
            connection = data[name:ends].decode("latin-1")
            return KnownCall(int(digits), connection, self._send_like, data[content:])
        like = self._moves.get(data[end:after])
        if like is None or data[after:content] != mark or size - content > MAX_BODY:
            return None
        body = _GROUPS.fullmatch(data, content)
        if body is None:
            return None
        groups = tuple(body[1].decode("ascii").split('","'))
        return KnownCall(int(digits), body[2].decode("ascii"), like, b"", groups)

    def _measure(self, data: bytes) -> _Lengths | None:
        """The places of the parts of a call with a content, if its lengths agree."""
        size = len(data)
        if size > self._limit or int.from_bytes(data[:_ARRAY], "little") != size - _ARRAY:
            return None
        if data.startswith(_REQUEST, _ARRAY):
            text, after = _TEXT, _TEXT + data[7]
        elif data.startswith(_LONG_REQUEST, _ARRAY):
            text, after = _TEXT + 1, _TEXT + 1 + (data[7] << 8 | data[8])
        else:
            return None
        rest = size - after - 2
        if 0 < rest < 0x100:
            mark = bytes((_SHORT, rest))
        elif 0x100 < rest <= 0x10000:
            mark = bytes((_LONG, *(rest - 1).to_bytes(2, "big")))
        else:
            return None
        if not data.startswith(_ACK_ID, text):
            return None
        if len(self._lengths) == _MAX_LENGTHS:
            self._lengths.clear()
        content, tail = after + len(mark), self._after + mark
        lengths = _Lengths(size, text + len(_ACK_ID), after, content, mark, content - len(tail), tail)
        self._lengths[data[:_HEAD]] = lengths
        return lengths

    def learn_call(self, data: bytes, request: Request, content: bytes) -> None:
        """Keep the form of `data`, which was decoded as `request`, if it is the first call of its kind."""
        self.decoded += 1
        if data.startswith(_REQUEST, _ARRAY):
            begins, after = _TEXT, _TEXT + data[7]
        elif data.startswith(_LONG_REQUEST, _ARRAY):
            begins, after = _TEXT + 1, _TEXT + 1 + int.from_bytes(data[7:9], "big")
        else:
            return
        if not _names_one(data[begins:after]):
            return
        end = data.find(b",", begins + len(_ACK_ID))
        send = not self._before and b"/connections/" in data
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
                # `tail` is another one now.
                self._lengths.clear()
        elif isinstance(command, JoinGroups | LeaveGroups):
            self._moves[data[end:after]] = operation


def _names_one(text: bytes) -> bool:
    """Does the text begin with the AckId, and name no other? Of two, JSON's last would count."""
    return text.startswith(_ACK_ID) and text.count(b'"AckId"') == 1 and b"\\" not in text
