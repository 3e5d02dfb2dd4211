"""Frames of the azure link dialect: HTTP-shaped calls both ways inside one WebSocket.

    u32 little-endian N | MessagePack array [type, json text, content or nil], N bytes

One WebSocket binary message holds exactly one frame. The MessagePack is written by hand: three
fixed parts around bytes that are ready already cost a third of a general encoder's call.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec
import orjson

from moorage.wire.errors import PeerError
from moorage.wire.reasons import LINK_BAD_FRAME

REQUEST: Final = 1
RESPONSE: Final = 2
STATUS: Final = 5
CONNECTED: Final = 10

_NIL: Final = b"\xc0"


class Request(msgspec.Struct, rename="pascal", gc=False):
    """A call of the app server. `Headers` maps names to one value or a list of them."""

    ack_id: int
    http_method: str
    url: str
    headers: dict[str, str | list[str]] | None = None

    def content_type(self) -> str:
        """The Content-Type header, lower-cased, or ""."""
        for name, value in (self.headers or {}).items():
            if name.lower() == "content-type":
                first = value if isinstance(value, str) else (value[0] if value else "")
                return first.lower()
        return ""


class Response(msgspec.Struct, rename="pascal", gc=False):
    """The app server's answer to a call of ours."""

    ack_id: int
    status_code: int
    not_completed: bool = False


_frame = msgspec.msgpack.Decoder(tuple[int, str, bytes | None])
_request = msgspec.json.Decoder(Request)
_response = msgspec.json.Decoder(Response)


def decode(data: bytes) -> tuple[Request | Response | None, bytes]:
    """What one WebSocket message carries, and its content (b"" for nil).

    None for a well-formed frame of a kind that we have no use for (the table of types may grow).
    Raises `PeerError` (link-bad-frame).
    """
    if len(data) < 5 or int.from_bytes(data[:4], "little") != len(data) - 4:
        raise PeerError(LINK_BAD_FRAME, "length")
    try:
        kind, text, content = _frame.decode(memoryview(data)[4:])
        if kind == REQUEST:
            return _request.decode(text), content or b""
        if kind == RESPONSE:
            return _response.decode(text), content or b""
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise PeerError(LINK_BAD_FRAME, str(error)[:200]) from None
    return None, b""


def encode(kind: int, text: bytes, content: bytes | None = None) -> bytes:
    """One frame; `text` is the JSON as bytes."""
    size = len(text)
    if size < 32:
        head = bytes((0x93, kind, 0xA0 | size))
    elif size < 0x100:
        head = bytes((0x93, kind, 0xD9, size))
    elif size < 0x10000:
        head = b"\x93%c\xda%b" % (kind, size.to_bytes(2, "big"))
    else:
        head = b"\x93%c\xdb%b" % (kind, size.to_bytes(4, "big"))
    if content is None:
        body = _NIL
    elif len(content) < 0x100:
        body = b"\xc4%c%b" % (len(content), content)
    elif len(content) < 0x10000:
        body = b"\xc5%b%b" % (len(content).to_bytes(2, "big"), content)
    else:
        body = b"\xc6%b%b" % (len(content).to_bytes(4, "big"), content)
    total = len(head) + size + len(body)
    return b"%b%b%b%b" % (total.to_bytes(4, "little"), head, text, body)


def connected(connection_id: str, server_id: str) -> bytes:
    """The frame that must open every link: the SDK's promise waits for it."""
    return encode(
        CONNECTED,
        orjson.dumps(
            {"Type": CONNECTED, "ConnectionId": connection_id, "UserId": server_id, "ReconnectionToken": None}
        ),
    )


KEEPALIVE: Final = encode(STATUS, b'{"Type":5,"Message":"","TracingId":null}')
"""WebSocket pings do not count as activity for the SDK; this frame does."""


def response(ack_id: int, status: int, *, more: bool = False, content: bytes | None = None) -> bytes:
    """An answer to the app server's call `ack_id`; `more`: the stream goes on."""
    not_completed: Literal[b"true", b"false"] = b"true" if more else b"false"
    return encode(
        RESPONSE,
        b'{"Type":2,"AckId":%d,"StatusCode":%d,"Headers":{},"NotCompleted":%b}'
        % (ack_id, status, not_completed),
        content,
    )
