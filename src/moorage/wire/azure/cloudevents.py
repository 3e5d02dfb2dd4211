"""The service's events for an app server, as POST requests of the azure dialect. The constant part of the
headers is encoded once per hub. The part of a connection is encoded once and added to each event."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
import orjson

from moorage.wire.azure.tunnel_frames import REQUEST, before_content, before_text
from moorage.wire.handshake import Handshake, OpenInfo

_URL: Final = "http://moorage/eventhandler/"
_TYPES: Final = {
    "connect": ("azure.webpubsub.sys.connect", "application/json"),
    "message": ("azure.webpubsub.user.message", "text/plain"),
    "disconnected": ("azure.webpubsub.sys.disconnected", "application/json"),
}


class EventWriter:
    """Writes one hub's event requests. `origin` is the service's host name."""

    __slots__ = ("_heads",)

    def __init__(self, hub: str, origin: str) -> None:
        self._heads = {name: self._head(name, hub, origin) for name in _TYPES}

    @staticmethod
    def _head(name: str, hub: str, origin: str) -> tuple[bytes, bytes, int]:
        kind, content_type = _TYPES[name]
        headers = {
            "ce-type": [kind],
            "ce-eventName": [name],
            "ce-hub": [hub],
            "ce-awpsversion": ["1.0"],
            "WebHook-Request-Origin": [origin],
            "Content-Type": [content_type],
        }
        fixed = orjson.dumps({"Type": 1, "HttpMethod": "POST", "Url": _URL, "Headers": headers})
        # `…"Headers":{…,"ce-connectionId":[` id `]` user `},"LocalRouting":…,"AckId":` number `}`
        head, tail = fixed[:-2] + b',"ce-connectionId":[', b'},"LocalRouting":false,"ChannelName":"","AckId":'
        return head, tail, len(head) + len(tail)

    def write(self, name: str, ack_id: int, identity: bytes, content: bytes) -> bytes:
        """One frame; `identity` comes from `identity_of`."""
        head, tail, fixed = self._heads[name]
        number, mark = b"%d}" % ack_id, before_content(len(content))
        size = fixed + len(identity) + len(number)
        lead = before_text(REQUEST, size, len(mark) + len(content))
        # One copy of the parts: a sum of them would copy some of them five times.
        return b"".join((lead, head, identity, tail, number, mark, content))


def identity_of(connection_id: str, user_id: str | None) -> bytes:
    """A connection's part of the headers, which stays the same for its life."""
    quoted = orjson.dumps(connection_id) + b"]"
    if user_id is None:
        return quoted
    return quoted + b',"ce-userId":[' + orjson.dumps(user_id) + b"]"


def connect_body(handshake: Handshake) -> bytes:
    """The body of the connect event. `headers` is always present: without it the SDK crashes its process
    at the client's CONNECT packet."""
    return msgspec.json.encode(
        {
            "claims": handshake.claims,
            "query": handshake.query,
            "headers": handshake.headers,
            "subprotocols": [],
            "clientCertificates": [],
        }
    )


_LARGEST: Final = 2**53
"""Largest integer up to which JavaScript numbers are exact."""
_Milliseconds = Annotated[int, msgspec.Meta(ge=1, le=_LARGEST)]


class _Terms(msgspec.Struct, rename="camel"):
    ping_interval: _Milliseconds = 25_000
    ping_timeout: _Milliseconds = 20_000
    # JavaScript writes `Infinity` as null, and a large number as 1e+21.
    max_payload: int | float | None = 1_000_000


class _ConnectAnswer(msgspec.Struct):
    socketio: _Terms


_answer = msgspec.json.Decoder(_ConnectAnswer)


def connect_answer(content: bytes) -> OpenInfo | None:
    """The terms in a 200 answer to connect, or None if they are invalid."""
    try:
        terms = _answer.decode(content).socketio
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
    limit = _LARGEST if terms.max_payload is None else terms.max_payload
    if limit < 1:
        return None
    return OpenInfo(terms.ping_interval, terms.ping_timeout, int(min(limit, _LARGEST)))
