"""Checks that a body is an Engine.IO payload that Socket.IO clients accept."""

from __future__ import annotations

from typing import Final

import orjson

from moorage.wire.engineio import check_text, decode_binary, split_payload
from moorage.wire.errors import PeerError
from moorage.wire.reasons import API_BAD_PAYLOAD
from moorage.wire.socketio import ACK, BINARY_ACK, BINARY_EVENT, EVENT, goodbye, parse_header

MAX_PACKETS: Final = 1_000
"""Maximum packets in one payload."""

# Event names reserved by clients, which treat a packet with one as a parse error.
_RESERVED: Final = frozenset(
    {"connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"}
)


def check_payload(body: bytes) -> None:
    """Refuse a payload that would make every recipient's parser close its connection.

    Events and acks with all their attachments are allowed, or a single DISCONNECT. Only an app server may
    send other packets. The body may also be plain text: "3 items left" is a pong, and "100 users" would close
    every connection. Raises `PeerError` (api-bad-payload)."""
    if goodbye(body) is not None:
        return
    missing = 0
    try:
        for packet in split_payload(check_text(body), MAX_PACKETS):
            missing = _check_packet(packet, missing)
    except PeerError as error:
        if error.reason is API_BAD_PAYLOAD:
            raise
        raise PeerError(API_BAD_PAYLOAD, f'{error.message}; an event is written 42["name","data"]') from None
    if missing:
        raise PeerError(API_BAD_PAYLOAD, "binary attachments are missing")


def _check_packet(packet: bytes, missing: int) -> int:
    """The number of missing attachments after `packet`; `missing` is their number before it."""
    if packet[:1] == b"b":
        if not missing:
            raise PeerError(API_BAD_PAYLOAD, "binary data that no packet announced")
        decode_binary(packet)
        return missing - 1
    if missing:
        raise PeerError(API_BAD_PAYLOAD, "binary attachments are missing")
    header = parse_header(packet)
    text = packet[header.body :]
    try:
        data = orjson.loads(text) if text else None
    except orjson.JSONDecodeError:
        raise PeerError(API_BAD_PAYLOAD, "what follows the packet's header is not JSON") from None
    if header.type in {EVENT, BINARY_EVENT}:
        name = data[0] if isinstance(data, list) and data else None
        if isinstance(name, bool) or not isinstance(name, str | int | float):
            raise PeerError(API_BAD_PAYLOAD, "an event carries a JSON array that begins with its name")
        if name in _RESERVED:
            raise PeerError(API_BAD_PAYLOAD, f"{name} is a reserved event name")
    elif header.type not in {ACK, BINARY_ACK}:
        raise PeerError(API_BAD_PAYLOAD, "only events and acks can be sent, or a DISCONNECT alone")
    elif not isinstance(data, list):
        raise PeerError(API_BAD_PAYLOAD, "an ack carries a JSON array")
    return header.attachments
