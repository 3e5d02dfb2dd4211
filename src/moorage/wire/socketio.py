"""Socket.IO 5 packet headers: the part before the JSON.

    <type digit>[<attachments>-][/<namespace>,][<ack id>]<json>

Only the header is parsed. The JSON belongs to the two applications and is neither decoded nor
checked, which keeps a broadcast cheap. The exceptions are rare packets that reach app servers other
than the client's own: CONNECT data, which `fetchSockets` returns to all, and answers to broadcasts.
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
"""Maximum bytes of a namespace's name. Group names (at most 1,024 characters) contain its base64 form."""

# One match parses the whole header. The length of a namespace is bounded by the packet's size, and
# the alternatives cannot overlap, so the match is linear.
#
# After the header a JSON value must begin, or the packet must end. Without that rule parsers
# disagree about the header: socket.io-parser finds an ack id in `43 7[]`, and python-socketio finds
# a namespace in `400-/admin,`.
_HEADER: Final = re.compile(
    rb"4(?:([0-4])|([56])([0-9]{1,5})-)(?:(/[^,\x00-\x1f]*)(?:,|\Z))?([0-9]{0,16})"
    rb'(?=[\[{"tfn]|\Z)'
)
_RAW: Final = msgspec.json.Decoder(msgspec.Raw)
"""Checks the syntax of a JSON text without building values: 0.2 us for a short text."""
_LIST: Final = msgspec.json.Decoder(list[msgspec.Raw])


class Header(NamedTuple):
    """`id` is the ack id or None. `body` is the offset of the JSON. `id_at` is the offset of the ack id, or
    the offset at which to insert one (after the namespace)."""

    type: int
    attachments: int
    namespace: str
    id: int | None
    id_at: int
    body: int


_CONNECT: Final = Header(0, 0, "/", None, 2, 2)
"""The header of `40` and of `40{…}`."""


def parse_header(packet: bytes) -> Header:
    """The header of an Engine.IO message packet (`4…`). Raises `PeerError` (bad-socketio-packet)."""
    if packet == b"40" or packet.startswith(b"40{"):
        # Each client sends and receives one of these: they are read in a third of the time.
        return _CONNECT
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
    """`packet` with `ack_id` as its ack id, after the comma of the namespace."""
    return b"%b%d%b" % (packet[: header.id_at], ack_id, packet[header.body :])


_PLAIN: Final = (b"42", b"43")
_BINARY: Final = (b"45", b"46")


MAX_EMIT: Final = 10_000
"""Maximum packets of one payload for several clients; an event and its attachments are few packets."""


def is_emit(payload: bytes) -> bool:
    """True if `payload` contains only events and acks, each with its attachments. Only these may be sent
    to clients of other app servers. The JSON is not checked."""
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
    """A single DISCONNECT. `close` is the member that Azure's adapter adds to it; None = no data."""

    namespace: str
    close: bool | None


def goodbye(payload: bytes) -> Goodbye | None:
    """The DISCONNECT, if `payload` is exactly one; else None."""
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
    """`41` or `41/ns,`, without data, because stock clients treat data as a parse error."""
    return b"41" if namespace == "/" else b"41%b," % namespace.encode()


def connected_sid(packet: bytes, header: Header) -> str | None:
    """The socket id in a CONNECT answer (`40{"sid":…}`), or None for any other packet."""
    try:
        data = orjson.loads(packet[header.body :])
    except orjson.JSONDecodeError:
        return None
    sid = data.get("sid") if isinstance(data, dict) else None
    return sid if isinstance(sid, str) and sid else None


def closes_engine(packet: bytes, header: Header) -> bool | None:
    """The `close` member that Azure's adapter adds to a DISCONNECT; None = no data."""
    if header.body >= len(packet):
        return None
    try:
        data = orjson.loads(packet[header.body :])
    except orjson.JSONDecodeError:
        return None
    return bool(data.get("close")) if isinstance(data, dict) else None


def check_data(packet: bytes, header: Header) -> None:
    """Raise `PeerError` (bad-socketio-packet) if the packet has data that is not JSON."""
    if header.body < len(packet) and not is_json(packet[header.body :]):
        raise PeerError(BAD_SOCKETIO_PACKET, "data is not JSON")


def readable_ack(packet: bytes, header: Header) -> bytes:
    """Return an ACK whose data is an array, as the parsers of app servers expect it. socket.io treats an ACK
    without data as an ACK without arguments, so `[]` is added to it. Raises `PeerError` (bad-socketio-packet)
    for any other data, and for placeholders without an attachment."""
    if header.type == BINARY_ACK and not header.attachments:
        raise PeerError(BAD_SOCKETIO_PACKET, "a binary ack without attachments")
    if header.body >= len(packet):
        return packet + b"[]"
    data = packet[header.body :]
    if data[:1] != b"[" or not is_json(data):
        raise PeerError(BAD_SOCKETIO_PACKET, "an ack's data is not a JSON array")
    if header.attachments and not _placeholders_fit(data, header.attachments):
        raise PeerError(BAD_SOCKETIO_PACKET, "a placeholder without an attachment")
    return packet


def is_full_list(text: bytes) -> bool:
    """True if `text` is a JSON array with at least one element."""
    try:
        return bool(_LIST.decode(text))
    except msgspec.DecodeError:
        # As in `is_json`.
        found = _parsed(text)
        return found is not None and isinstance(found[0], list) and bool(found[0])
    except RecursionError:
        return False


def is_json(text: bytes) -> bool:
    """True if `text` is a JSON value that the parsers of app servers read."""
    try:
        _RAW.decode(text)
    except msgspec.DecodeError:
        # msgspec refuses the escape of half a surrogate pair ("\ud83d"), which JavaScript writes.
        return _parsed(text) is not None
    except RecursionError:
        return False
    return True


def _parsed(text: bytes) -> list[Any] | None:
    """The value, in a list of one element; None if `text` is not JSON or is nested too deeply."""
    try:
        return [json.loads(text, parse_constant=_no_number)]
    except (ValueError, RecursionError):
        return None


def _no_number(name: str) -> NoReturn:
    """Refuse `NaN` and `Infinity`, which are not JSON."""
    raise ValueError(name)


def _placeholders_fit(data: bytes, attachments: int) -> bool:
    """Socket.IO's parsers disagree about what a placeholder is, so this uses the widest definition."""
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
