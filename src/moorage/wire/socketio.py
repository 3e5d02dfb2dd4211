"""Socket.IO 5 packet headers: what stands before the JSON.

    <type digit>[<attachments>-][/<namespace>,][<ack id>]<json>

Only the header is read. The JSON belongs to the two applications; it passes through untouched,
neither decoded nor checked, which is most of why a broadcast is cheap. The exceptions are rare
packets that reach others than the client's own app server: CONNECT data, which `fetchSockets` shows
to all, and answers to broadcasts.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final, NamedTuple, NoReturn

import msgspec
import orjson

from moorage.wire.engineio import RS, SEPARATOR
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
_RAW: Final = msgspec.json.Decoder(msgspec.Raw)
"""Checks the syntax of a JSON text and builds nothing: 0.2 us for a short one."""


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


_PLAIN: Final = (b"42", b"43")
_BINARY: Final = (b"45", b"46")


MAX_EMIT: Final = 10_000
"""Packets of one payload for several clients: an event and its attachments are few."""


def is_emit(payload: bytes) -> bool:
    """True if `payload` holds events and acks only, each with its attachments: what may be sent to
    clients of any app server. JSON is not looked into."""
    if SEPARATOR not in payload and payload.startswith(_PLAIN):
        return True
    if payload.count(SEPARATOR) >= MAX_EMIT:
        return False
    missing = 0
    for packet in payload.split(RS):
        if packet[:1] == b"b":
            missing -= 1
            if missing < 0:
                return False
        elif missing:
            return False
        elif packet.startswith(_BINARY):
            try:
                missing = parse_header(packet).attachments
            except PeerError:
                return False
        elif not packet.startswith(_PLAIN):
            return False
    return not missing


class Goodbye(NamedTuple):
    """A lone DISCONNECT. `close` is the member that Azure's adapter puts into it; None = no data."""

    namespace: str
    close: bool | None


def goodbye(payload: bytes) -> Goodbye | None:
    """The DISCONNECT that is all of `payload`, or None."""
    if SEPARATOR in payload or not payload.startswith(b"41"):
        return None
    try:
        header = parse_header(payload)
    except PeerError:
        return None
    close = closes_engine(payload, header)
    if header.id is not None or (close is None and header.body < len(payload)):
        return None
    return Goodbye(header.namespace, close)


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


def check_data(packet: bytes, header: Header) -> None:
    """Raises `PeerError` (bad-socketio-packet) if the packet's data is neither absent nor JSON."""
    if header.body < len(packet) and not _is_json(packet[header.body :]):
        raise PeerError(BAD_SOCKETIO_PACKET, "data is not JSON")


def readable_ack(packet: bytes, header: Header) -> bytes:
    """An ACK whose data is an array, as the app servers' parsers expect it.

    socket.io takes an ACK without data for one without arguments, so such a packet gets `[]`. Raises
    `PeerError` (bad-socketio-packet) for any other data, and for placeholders without an attachment.
    """
    if header.type == BINARY_ACK and not header.attachments:
        raise PeerError(BAD_SOCKETIO_PACKET, "a binary ack without attachments")
    if header.body >= len(packet):
        return packet + b"[]"
    data = packet[header.body :]
    if data[:1] != b"[" or not _is_json(data):
        raise PeerError(BAD_SOCKETIO_PACKET, "an ack's data is not a JSON array")
    if header.attachments and not _placeholders_fit(data, header.attachments):
        raise PeerError(BAD_SOCKETIO_PACKET, "a placeholder without an attachment")
    return packet


def _is_json(text: bytes) -> bool:
    try:
        _RAW.decode(text)
    except msgspec.DecodeError:
        # JavaScript writes half a surrogate pair as an escape ("\ud83d"), which msgspec refuses.
        return _parsed(text) is not None
    except RecursionError:
        return False
    return True


def _parsed(text: bytes) -> list[Any] | None:
    """The value in a list of one; None if `text` is not JSON or is nested too deeply."""
    try:
        return [json.loads(text, parse_constant=_no_number)]
    except (ValueError, RecursionError):
        return None


def _no_number(name: str) -> NoReturn:
    """`NaN` and `Infinity`, which are not JSON."""
    raise ValueError(name)


def _placeholders_fit(data: bytes, attachments: int) -> bool:
    """Socket.IO's parsers disagree about what a placeholder is, so this follows the widest reading."""
    waiting = _parsed(data)
    if waiting is None:
        return False
    while waiting:
        item = waiting.pop()
        if isinstance(item, list):
            waiting += item
        elif isinstance(item, dict):
            waiting += item.values()
            if "_placeholder" in item and (item["_placeholder"] is True or "num" in item):
                number = item.get("num")
                if type(number) is not int or not 0 <= number < attachments:
                    return False
    return True
