"""Settings of the client port. `config` composes them."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from moorage.hub.settings import Size

# Forms of values that the type alone does not define (`config.rules`).
BaseUrl = Annotated[str, Meta(extra={"kind": "endpoint"})]
Networks = Annotated[tuple[str, ...], Meta(extra={"kind": "networks"})]
Origins = Annotated[tuple[str, ...], Meta(extra={"kind": "origins"})]


class ServerSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The listener. Times in seconds, sizes in bytes."""

    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65_535)] = 8080
    public_endpoint: BaseUrl = ""
    """The URL that clients use, behind a proxy; it is the audience of tokens. If empty, the request's
    Host header is used. App servers may link by this URL or by any other address of the service."""
    trusted_proxies: Networks = ()
    """Networks of trusted proxies, such as `127.0.0.1` or `10.0.0.0/8`. The client's address is taken from
    their `X-Forwarded-For` or `Forwarded` header; these headers are ignored from any other peer."""
    backlog: Annotated[int, Meta(ge=1, le=65_535)] = 4096
    header_timeout: Annotated[float, Meta(ge=0.1, le=3600)] = 10.0
    """Maximum time from the first byte of a request to the end of its headers."""
    max_header_bytes: Annotated[Size, Meta(ge=1024, le=1024**2)] = 16 * 1024
    body_timeout: Annotated[float, Meta(ge=0.1, le=3600)] = 30.0
    """Maximum time from the end of the headers to the end of the body."""
    answer_timeout: Annotated[float, Meta(ge=0.1, le=3600)] = 30.0
    """An HTTP client that reads nothing of an answer for this long is disconnected."""
    keep_alive: Annotated[float, Meta(ge=0, le=3600)] = 75.0
    """An idle HTTP connection is kept open this long."""
    upgrade_timeout: Annotated[float, Meta(ge=0.1, le=3600)] = 10.0
    """Maximum time from the WebSocket of a transport upgrade to its last handshake packet."""
    post_wait: Annotated[float, Meta(ge=0, le=60)] = 1.0
    """Maximum time that a polling POST waits for the app server to take its packets."""


class CorsSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Pages of other origins: which may connect, and which may send their visitors' cookies."""

    allow_origins: Origins = ("*",)
    """Origins such as `https://example.org`, patterns such as `https://*.example.org`, or `null`. `*` lets
    pages of every origin connect, but does not list them for `credentials`."""
    credentials: Literal["listed", "any"] = "listed"
    """Pages whose cookies reach the app: `listed` are those of the listed origins and of the service's own;
    `any` are those of all origins that may connect. `moorage dev` sets `any`."""
