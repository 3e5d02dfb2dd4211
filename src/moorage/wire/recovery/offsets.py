"""Connection state recovery, as clients see it. The answer to a CONNECT has a `pid`. Each event ends in an
*offset*, an additional last argument of type string: the client keeps the latest one, and sends both in the
data of its next CONNECT.

An offset is `<epoch>.<position>`: the name of a hub's log, and a position in it, in hexadecimal digits."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

import orjson

from moorage.wire.engineio import RS, SEPARATOR
from moorage.wire.errors import PeerError
from moorage.wire.socketio import Header, is_full_list, parse_header

_OFFSET: Final = re.compile(r"([A-Za-z0-9_-]{1,64})\.([0-9a-f]{1,13})")
_SPACE: Final = b" \t\r\n"
_EVENTS: Final = (b"42", b"45")
_ROOT_EVENT: Final = b"42["
"""An event of the main namespace, without an ack id. Its header need not be parsed."""


class Part(NamedTuple):
    """One packet of a payload, with its attachments. For an event: its namespace, and the ack id if it has
    one. `namespace` is empty for anything else, and for an event that a client cannot read."""

    packets: bytes
    namespace: str = ""
    ack_id: int | None = None


def parts_of(payload: bytes) -> list[Part]:
    """The parts of a payload, in order."""
    if SEPARATOR not in payload:
        return [_part(payload, payload)]
    groups: list[list[bytes]] = []
    for packet in payload.split(RS):
        if packet[:1] == b"b" and groups:
            groups[-1].append(packet)
        else:
            groups.append([packet])
    return [_part(RS.join(group), group[0]) for group in groups]


def _part(packets: bytes, first: bytes) -> Part:
    if first.startswith(_ROOT_EVENT):
        return Part(packets, "/") if is_full_list(first[2:]) else Part(packets)
    if not first.startswith(_EVENTS):
        return Part(packets)
    try:
        header = parse_header(first)
    except PeerError:
        return Part(packets)
    if not is_full_list(first[header.body :]):
        return Part(packets)
    return Part(packets, header.namespace, header.id)


def with_offset(event: bytes, offset: bytes) -> bytes:
    """An event with `offset` as its last argument. The first packet's data is a JSON array with at least one
    element."""
    head, separator, attachments = event.partition(RS)
    return b'%b,"%b"]%b%b' % (head.rstrip(_SPACE)[:-1], offset, separator, attachments)


def make_offset(epoch: str, position: int) -> bytes:
    """The offset of this position."""
    return b"%b.%x" % (epoch.encode(), position)


class Offset(NamedTuple):
    """A position in the log of an epoch."""

    epoch: str
    position: int


def parse_offset(text: str) -> Offset | None:
    """The offset, or None for any other text."""
    match = _OFFSET.fullmatch(text)
    return Offset(match[1], int(match[2], 16)) if match is not None else None


class Return(NamedTuple):
    """What a client that comes back sends with its CONNECT."""

    pid: str
    offset: str | None
    """None if it has received no event. Empty if it is no string."""


def returning(packet: bytes, header: Header) -> Return | None:
    """The `pid` and the offset in a CONNECT packet; None if it has no `pid`."""
    data = _object(packet[header.body :])
    pid = data.get("pid")
    if not isinstance(pid, str) or not pid:
        return None
    offset = data.get("offset")
    return Return(pid, offset if offset is None or isinstance(offset, str) else "")


def with_pid(packet: bytes, header: Header, pid: str) -> bytes:
    """The answer to a CONNECT with this `pid`, in the place of another one. Its data is a JSON object."""
    return packet[: header.body] + orjson.dumps(_object(packet[header.body :]) | {"pid": pid})


def _object(text: bytes) -> dict[str, object]:
    try:
        data = orjson.loads(text)
    except orjson.JSONDecodeError:
        return {}
    return data if isinstance(data, dict) else {}
