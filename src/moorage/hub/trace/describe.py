"""Short descriptions of packets. Whatever the bytes are, a description is returned and nothing is raised,
because a trace must not end what it shows."""

from __future__ import annotations

import contextlib
import json
import re
import zlib
from collections.abc import Iterator
from typing import Final, NamedTuple

from moorage.wire.deflate.messages import RAW
from moorage.wire.engineio import RS
from moorage.wire.errors import PeerError
from moorage.wire.socketio import (
    ACK,
    BINARY_ACK,
    BINARY_EVENT,
    CONNECT,
    CONNECT_ERROR,
    DISCONNECT,
    EVENT,
    MAX_NAMESPACE,
    parse_header,
)

MAX_NAME: Final = 128
"""Maximum characters of an event's name. A longer name ends with an ellipsis."""
MAX_PAYLOAD: Final = 2_048
"""Maximum bytes of a packet's data that are shown."""
MAX_PACKETS: Final = 100
"""Maximum packets of one payload that are described."""
_NAME_BYTES: Final = 6 * MAX_NAME + 16
"""A character takes up to six bytes: `\\u0041`."""

_ENGINE: Final = {
    ord("0"): "open",
    ord("1"): "close",
    ord("2"): "ping",
    ord("3"): "pong",
    ord("5"): "upgrade",
    ord("6"): "noop",
    ord("b"): "binary",
}
_SOCKET: Final = {
    CONNECT: "connect",
    DISCONNECT: "disconnect",
    EVENT: "event",
    ACK: "ack",
    CONNECT_ERROR: "connect_error",
    BINARY_EVENT: "event",
    BINARY_ACK: "ack",
}
UNKNOWN: Final = "unknown"
"""The type of bytes that are no packet."""
_MESSAGE: Final = ord("4")
_COMPRESSED: Final = 0x40
_OPCODE: Final = 0x0F
_BINARY: Final = 0x02
_INFLATED_BYTES: Final = MAX_NAMESPACE + 2 * MAX_PAYLOAD
"""More than is shown of a packet."""
_FIRST: Final = re.compile(rb'\[[ \t\r\n]*(?:"((?:[^"\\]|\\.)*)("?)|(-?[0-9.eE+]+))', re.DOTALL)
"""The first element of a JSON array, if it is a text or a number."""
_PLAIN: Final = re.compile(rb'42(?:(/[\w./-]{0,128}),)?(0|[1-9][0-9]{0,14})?\["([^"\\]{1,128})"')
"""The beginning of nearly all events, which needs no further checks."""
_CUT_ESCAPE: Final = re.compile(r"\\u[0-9a-fA-F]{0,3}\Z")


class Whole(NamedTuple):
    """A packet and its attachments, as they travel together."""

    packet: bytes
    attachments: int
    size: int
    """Bytes of the packet and its attachments."""


class Description(NamedTuple):
    """What a packet is."""

    type: str
    namespace: str = ""
    event: str | None = None
    ack: int | None = None
    body: int = 0
    """Offset of the JSON."""


def describe(packet: bytes) -> Description:
    """What one packet in text form is."""
    if (plain := _PLAIN.match(packet)) is not None:
        namespace, number, name = plain.groups()
        return Description(
            "event",
            "/" if namespace is None else namespace.decode(),
            name.decode(errors="replace"),
            int(number) if number else None,
            plain.start(3) - 2,
        )
    kind = packet[0] if packet else 0
    if kind != _MESSAGE:
        return Description(_ENGINE.get(kind, UNKNOWN))
    try:
        header = parse_header(packet)
    except PeerError:
        return Description(UNKNOWN)
    named = header.type in (EVENT, BINARY_EVENT)
    event = _name(packet[header.body : header.body + _NAME_BYTES]) if named else None
    return Description(_SOCKET[header.type], header.namespace, event, header.id, header.body)


def shown(packet: bytes, body: int) -> str:
    """The beginning of a packet's data as text."""
    cut = packet[body : body + MAX_PAYLOAD]
    text = cut.decode(errors="replace")
    return text if len(cut) == len(packet) - body else text + "…"


def clean(text: str) -> str:
    """The text without halves of surrogate pairs, which no encoder takes."""
    return text.encode(errors="replace").decode()


def _name(text: bytes) -> str | None:
    match = _FIRST.match(text)
    if match is None:
        return None
    if match[3] is not None:
        return match[3].decode()[:MAX_NAME]
    name = match[1].decode(errors="replace")
    if "\\" in name:
        if not match[2]:
            name = _CUT_ESCAPE.sub("", name)
        # With an escape that JSON does not have, the name is shown as it was sent.
        with contextlib.suppress(ValueError):
            name = clean(json.loads(f'"{name}"', strict=False))
    return name if match[2] and len(name) <= MAX_NAME else name[:MAX_NAME] + "…"


def in_payload(payload: bytes) -> Iterator[Whole]:
    """The packets of a payload, as polling carries them, each with its attachments."""
    packet, attachments, size = b"", 0, 0
    for part in payload.split(RS):
        if part[:1] == b"b" and packet[:1] == b"4":
            attachments += 1
            # Base64 without its padding.
            size += len(part[1:].rstrip(b"=")) * 3 // 4
            continue
        if packet:
            yield Whole(packet, attachments, size)
        packet, attachments, size = part, 0, len(part)
    if packet:
        yield Whole(packet, attachments, size)


def in_frames(data: bytes) -> Iterator[Whole]:
    """The packets of WebSocket frames without masks, each with its attachments. Only the
    beginning of a compressed packet is made plain."""
    packet, attachments, size = b"", 0, 0
    at = 0
    while at + 2 <= len(data):
        first, length, at = data[at], data[at + 1] & 0x7F, at + 2
        if length >= 126:
            more = 2 if length == 126 else 8
            length, at = int.from_bytes(data[at : at + more]), at + more
        is_binary = first & _OPCODE == _BINARY
        if is_binary and packet[:1] == b"4":
            attachments += 1
            size += length
        else:
            if packet:
                yield Whole(packet, attachments, size)
            text = b"b" if is_binary else data[at : at + length]
            packet = _inflated(text) if first & _COMPRESSED and not is_binary else text
            attachments, size = 0, length
        at += length
    if packet:
        yield Whole(packet, attachments, size)


def _inflated(data: bytes) -> bytes:
    try:
        return zlib.decompressobj(RAW).decompress(data, _INFLATED_BYTES)
    except zlib.error:
        return b"?"
