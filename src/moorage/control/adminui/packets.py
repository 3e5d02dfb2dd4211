"""Socket.IO packets between the service and the Admin UI. The UI is a stranger until its password is known,
so it may send anything."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import orjson

from moorage.wire.errors import PeerError
from moorage.wire.socketio import CONNECT, DISCONNECT, EVENT, Header, parse_header

NAMESPACE: Final = "/admin"
"""The UI of the default hub connects here, that of the hub NAME to `/admin/NAME`."""
MAX_TEXT: Final = 8 * 1_024
"""Maximum characters of a field of the login form."""


class Login(NamedTuple):
    """A CONNECT with the fields of the UI's form; a missing field is "". The username has no meaning."""

    namespace: str
    password: str
    session: str


class Order(NamedTuple):
    """An event of the UI."""

    namespace: str
    name: str
    arguments: list[Any]


class Goodbye(NamedTuple):
    """The UI has left a namespace."""

    namespace: str


def received(packet: bytes) -> Login | Order | Goodbye | None:
    """A packet of the UI; None for packets that need no answer."""
    try:
        header = parse_header(packet)
    except PeerError:
        return None
    data = _data(packet, header)
    if header.type == CONNECT:
        auth = data if isinstance(data, dict) else {}
        return Login(header.namespace, _text(auth.get("password")), _text(auth.get("sessionId")))
    if header.type == DISCONNECT:
        return Goodbye(header.namespace)
    if header.type == EVENT and isinstance(data, list) and data and isinstance(data[0], str):
        return Order(header.namespace, data[0], data[1:])
    return None


def _data(packet: bytes, header: Header) -> Any:
    try:
        return orjson.loads(packet[header.body :])
    except orjson.JSONDecodeError:
        return None


def _text(value: object) -> str:
    return value if isinstance(value, str) and len(value) <= MAX_TEXT else ""


def accepted(namespace: str, sid: str) -> bytes:
    """The answer to a CONNECT."""
    return b"40%b,%b" % (namespace.encode(), orjson.dumps({"sid": sid}))


def refused(namespace: str, message: str) -> bytes:
    """The other answer to a CONNECT."""
    return b"44%b,%b" % (namespace.encode(), orjson.dumps({"message": message}))


def event(namespace: str, name: str, *arguments: Any) -> bytes:
    """An event."""
    prefix = b"" if namespace == "/" else namespace.encode() + b","
    return b"42%b%b" % (prefix, orjson.dumps([name, *arguments], option=orjson.OPT_NON_STR_KEYS))
