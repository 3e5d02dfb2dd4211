"""Socket.IO 5 packet headers: what stands before the JSON.

    <type digit>[<attachments>-][/<namespace>,][<ack id>]<json>

Only the header is read. The JSON belongs to the two applications; it passes through untouched,
neither decoded nor checked, which is most of why a broadcast is cheap.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

import orjson

from moorage.wire.errors import PeerError
from moorage.wire.reasons import BAD_SOCKETIO_PACKET, BAD_UTF8

CONNECT: Final = 0
DISCONNECT: Final = 1
EVENT: Final = 2
ACK: Final = 3
CONNECT_ERROR: Final = 4
BINARY_EVENT: Final = 5
BINARY_ACK: Final = 6

MAX_NAMESPACE: Final = 512
"""Bytes of a namespace's name; its base64 form stands in group names of at most 1,024."""

# One match does the whole header. The name of a namespace is bounded by the packet's own size, and
# the alternatives cannot overlap, so the match is linear.
#
# After the header a JSON value must begin, or the packet must end. Without that rule parsers read
# different headers: `43 7[]` has an ack id for socket.io-parser, `400-/admin,` has a namespace for
# python-socketio.
_HEADER: Final = re.compile(
    rb"4(?:([0-4])|([56])([0-9]{1,5})-)(?:(/[^,\x00-\x1f]*)(?:,|\Z))?([0-9]{0,16})"
    rb'(?=[\[{"tfn]|\Z)'
)


class Header(NamedTuple):
    """`id` is the ack id or None; `body` the offset of the JSON; `id_at` where an id stands or
    would stand (after the namespace)."""

    type: int
    attachments: int
    namespace: str
    id: int | None
    id_at: int
    body: int


def parse_header(packet: bytes) -> Header:
    """The header of an Engine.IO message packet (`4…`). Raises `PeerError` (bad-socketio-packet)."""
    match = _HEADER.match(packet)
    if match is None:
        raise PeerError(BAD_SOCKETIO_PACKET, "header")
    plain, binary, attachments, namespace, number = match.groups()
    if namespace is None:
        name = "/"
    elif len(namespace) > MAX_NAMESPACE:
        raise PeerError(BAD_SOCKETIO_PACKET, "namespace is too long")
    else:
        try:
            name = namespace.decode()
        except UnicodeDecodeError:
            raise PeerError(BAD_UTF8, "namespace") from None
    return Header(
        type=int(plain or binary),
        attachments=int(attachments) if attachments else 0,
        namespace=name,
        id=int(number) if number else None,
        id_at=match.start(5),
        body=match.end(),
    )


def with_ack_id(packet: bytes, header: Header, ack_id: int) -> bytes:
    """`packet` with `ack_id` in its place. The namespace's comma stays before it."""
    return b"%b%d%b" % (packet[: header.id_at], ack_id, packet[header.body :])


def disconnect_packet(namespace: str) -> bytes:
    """`41` or `41/ns,`: without data, since stock clients call data a parse error."""
    return b"41" if namespace == "/" else b"41%b," % namespace.encode()


def connected_sid(packet: bytes, header: Header) -> str | None:
    """The socket id in a CONNECT answer (`40{"sid":…}`), or None where it is not one."""
    try:
        data = orjson.loads(packet[header.body :])
    except orjson.JSONDecodeError:
        return None
    sid = data.get("sid") if isinstance(data, dict) else None
    return sid if isinstance(sid, str) and sid else None


def closes_engine(packet: bytes, header: Header) -> bool | None:
    """The `close` member that Azure's adapter puts into DISCONNECT; None = no data there."""
    if header.body >= len(packet):
        return None
    try:
        data = orjson.loads(packet[header.body :])
    except orjson.JSONDecodeError:
        return None
    return bool(data.get("close")) if isinstance(data, dict) else None
