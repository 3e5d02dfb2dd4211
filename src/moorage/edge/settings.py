"""Settings of the client port. `config` composes them."""

from __future__ import annotations

from typing import Literal

import msgspec


class ServerSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The listener. Times in seconds, sizes in bytes."""

    host: str = "127.0.0.1"
    port: int = 8080
    public_endpoint: str = ""
    """The URL that clients use, where a proxy stands before us; tokens name it as their audience. Empty: the
    request's own Host header. App servers may link by this URL or by any other that leads here."""
    trusted_proxies: tuple[str, ...] = ()
    """Networks of the proxies before us, such as `127.0.0.1` or `10.0.0.0/8`. What they say in
    `X-Forwarded-For` or `Forwarded` is the client's address; from others these headers tell nothing."""
    backlog: int = 4096
    header_timeout: float = 10.0
    """From a connection's first byte of a request to the end of its headers."""
    max_header_bytes: int = 16 * 1024
    body_timeout: float = 30.0
    """From the end of the headers to the end of the body."""
    answer_timeout: float = 30.0
    """An HTTP client that takes nothing of an answer for this long is cut off."""
    keep_alive: float = 75.0
    """An idle HTTP connection is kept this long."""
    upgrade_timeout: float = 10.0
    """From a transport upgrade's WebSocket to its last handshake packet."""
    post_wait: float = 1.0
    """A polling POST waits this long at most for the app server to take its packets."""


class CorsSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which pages of other origins may connect, and which of them with their visitors' cookies."""

    allow_origins: tuple[str, ...] = ("*",)
    """Origins such as `https://example.org`, patterns such as `https://*.example.org`, or `null`. `*` lets
    pages of every origin connect, but does not list them for `credentials`."""
    credentials: Literal["listed", "any"] = "listed"
    """From which pages the app sees cookies: those of the listed origins (and of the service's own), or, if
    `*` is listed, those of any origin. `moorage dev` sets `any`."""
