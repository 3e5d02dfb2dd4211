"""Settings of the client port. `config` composes them."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from moorage.hub.settings import Size

# How a value may be written, where its type does not tell (`config.rules`).
BaseUrl = Annotated[str, Meta(extra={"kind": "endpoint"})]
Networks = Annotated[tuple[str, ...], Meta(extra={"kind": "networks"})]
Origins = Annotated[tuple[str, ...], Meta(extra={"kind": "origins"})]


class ServerSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The listener. Times in seconds, sizes in bytes."""

    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65_535)] = 8080
    public_endpoint: BaseUrl = ""
    """The URL that clients use, where a proxy stands before us; tokens name it as their audience. Empty: the
    request's own Host header. App servers may link by this URL or by any other that leads here."""
    trusted_proxies: Networks = ()
    """Networks of the proxies before us, such as `127.0.0.1` or `10.0.0.0/8`. What they say in
    `X-Forwarded-For` or `Forwarded` is the client's address; from others these headers tell nothing."""
    backlog: Annotated[int, Meta(ge=1, le=65_535)] = 4096
    header_timeout: Annotated[float, Meta(ge=0.1, le=3600)] = 10.0
    """From a connection's first byte of a request to the end of its headers."""
    max_header_bytes: Annotated[Size, Meta(ge=1024, le=1024**2)] = 16 * 1024
    body_timeout: Annotated[float, Meta(ge=0.1, le=3600)] = 30.0
    """From the end of the headers to the end of the body."""
    answer_timeout: Annotated[float, Meta(ge=0.1, le=3600)] = 30.0
    """An HTTP client that takes nothing of an answer for this long is cut off."""
    keep_alive: Annotated[float, Meta(ge=0, le=3600)] = 75.0
    """An idle HTTP connection is kept this long."""
    upgrade_timeout: Annotated[float, Meta(ge=0.1, le=3600)] = 10.0
    """From a transport upgrade's WebSocket to its last handshake packet."""
    post_wait: Annotated[float, Meta(ge=0, le=60)] = 1.0
    """A polling POST waits this long at most for the app server to take its packets."""


class CorsSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which pages of other origins may connect, and which of them with their visitors' cookies."""

    allow_origins: Origins = ("*",)
    """Origins such as `https://example.org`, patterns such as `https://*.example.org`, or `null`. `*` lets
    pages of every origin connect, but does not list them for `credentials`."""
    credentials: Literal["listed", "any"] = "listed"
    """From which pages the app sees cookies: those of the listed origins (and of the service's own), or, if
    `*` is listed, those of any origin. `moorage dev` sets `any`."""
