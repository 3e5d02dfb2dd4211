"""A client's request for a session, and the terms of an accepted session. Both link dialects send the
handshake to their app servers, each in its own JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import msgspec


class Origin(NamedTuple):
    """The origin and the target of a request."""

    url: str = ""
    """Path and query, without the access token."""
    address: str = ""
    """The client's IP address, as the service sees it."""


class Handshake(msgspec.Struct, frozen=True, kw_only=True):
    """Values are lists of strings; header names are lower-case. `query` excludes the access token."""

    query: Mapping[str, Sequence[str]]
    headers: Mapping[str, Sequence[str]]
    claims: Mapping[str, Sequence[str]] = {}
    user_id: str | None = None
    groups: tuple[str, ...] = ()
    origin: Callable[[], Origin] = Origin
    """Called at most once, by the dialect that needs it, because the address costs a system call."""
    secure: bool = False


class OpenInfo(msgspec.Struct, frozen=True, gc=False):
    """The terms of an accepted session: times in milliseconds, `max_payload` in bytes."""

    ping_interval: int = 25_000
    ping_timeout: int = 20_000
    max_payload: int = 1_000_000


def handshake_json(handshake: Handshake, issued: int) -> bytes:
    """The `handshake` of the moorage dialect; `issued` in milliseconds since 1970."""
    url, address = handshake.origin()
    return msgspec.json.encode(
        {
            "headers": handshake.headers,
            "query": handshake.query,
            "claims": handshake.claims,
            "url": url,
            "address": address,
            "secure": handshake.secure,
            "issued": issued,
        }
    )


class _Body(msgspec.Struct, gc=False):
    """The members of `Kept.body` that matter."""

    headers: msgspec.Raw
    query: msgspec.Raw
    claims: msgspec.Raw


_body = msgspec.json.Decoder(_Body).decode


class Kept(msgspec.Struct, gc=False, frozen=True):
    """A handshake that its app server got in another form, for those who ask about the client. Its JSON is
    written when somebody asks: that costs more than the client's whole handshake, and few are asked about."""

    body: bytes
    """JSON with the members `headers`, `query` and `claims`."""
    url: str
    address: str
    secure: bool

    def __bytes__(self) -> bytes:
        """As `handshake_json`, without `issued`."""
        body = _body(self.body)
        return msgspec.json.encode(
            {
                "headers": body.headers,
                "query": body.query,
                "claims": body.claims,
                "url": self.url,
                "address": self.address,
                "secure": self.secure,
            }
        )
