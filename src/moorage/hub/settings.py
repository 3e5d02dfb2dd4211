"""Settings of the hub layer. `config` composes them with those of the other parts.

A field's `Meta` holds the range that the configuration accepts. Code that builds a settings object itself
is not checked.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import Meta

GIB: Final = 1024**3

Size = Annotated[int, Meta(extra={"kind": "size"})]
"""A number of bytes. The configuration also accepts forms such as `64KiB`."""


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a stranger may cost us. Going past one ends with a numbered reason."""

    max_payload: Annotated[Size, Meta(ge=1024, le=GIB)] = 1_000_000
    """Bytes of one client message or POST body. The app server's `maxHttpBufferSize` may lower it."""
    max_attachments: Annotated[int, Meta(ge=0, le=10_000)] = 10
    """Binary attachments of one packet (socket.io-parser's default since CVE-2026-33151)."""
    max_packets_per_payload: Annotated[int, Meta(ge=0, le=1_000_000)] = 0
    """Packets in one polling POST. 0 means as many as `max_payload` has room for."""
    max_namespaces: Annotated[int, Meta(ge=1, le=10_000)] = 100
    """Namespaces connected or connecting on one connection."""
    max_groups: Annotated[int, Meta(ge=1, le=10_000_000)] = 10_000
    """Groups (rooms) of one connection, all namespaces together."""
    max_connections: Annotated[int, Meta(ge=1, le=100_000_000)] = 1_000_000
    """Client connections of this node."""
    outbox_bytes: Annotated[Size, Meta(ge=1024, le=16 * GIB)] = 4 * 1024 * 1024
    """Bytes queued for one client from which on it must read, or is closed as `slow-client`."""
    slow_after: Annotated[float, Meta(ge=0.1, le=3600)] = 5.0
    """How long a client may read nothing while more than `outbox_bytes` is queued for it."""
    outbox_hard_bytes: Annotated[Size, Meta(ge=1024, le=64 * GIB)] = 32 * 1024 * 1024
    """Bytes queued for one client before it is closed as `slow-client` at once. One emit may be larger."""
    outbox_total_bytes: Annotated[Size, Meta(ge=1024**2, le=1024 * GIB)] = 512 * 1024 * 1024
    """Bytes queued for all clients before those are closed that have read nothing for the longest time."""
    outbox_bytes_link: Annotated[Size, Meta(ge=1024**2, le=64 * GIB)] = 64 * 1024 * 1024
    """Bytes queued for one link before it is closed as `link-slow`."""


class LinkSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """App servers' links. Times in seconds."""

    grace: Annotated[float, Meta(ge=0, le=3600)] = 5.0
    """How long a server id may stay away before its clients are closed."""
    keepalive: Annotated[float, Meta(ge=1, le=110)] = 40.0
    """A data frame at least this often: the azure client library drops a link silent for 120 s."""
    heartbeat: Annotated[float, Meta(ge=0.5, le=60)] = 5.0
    """In the moorage dialect: something at least this often, and lost after three times as long."""
    window: Annotated[Size, Meta(ge=64 * 1024, le=GIB)] = 4 * 1024 * 1024
    """In the moorage dialect: bytes that an app server may send before they are acknowledged."""
    connect_timeout: Annotated[float, Meta(ge=0.1, le=600)] = 35.0
    """Wait for the app server's answer to a connect event (its SDK gives up after 30 s)."""
    invoke_timeout: Annotated[float, Meta(ge=0.1, le=86_400)] = 120.0
    """How long an `:invoke` stream stays open for missing acks."""
    max_frame: Annotated[Size, Meta(ge=64 * 1024, le=GIB)] = 16 * 1024 * 1024
    """Bytes of one tunnel frame that we read; of one batch in the moorage dialect."""
    max_waiting_bytes: Annotated[Size, Meta(ge=0, le=64 * GIB)] = 16 * 1024 * 1024
    """Bytes of client events that wait for an app server: held while none of its links is up; sent
    and not answered, before its clients are held back."""
    max_links_per_server: Annotated[int, Meta(ge=1, le=10_000)] = 32
    """Links that one server id may hold open on this node."""


class HubSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One hub's own settings (`hubs.NAME` in the file; `hubs.default` is the pattern for the rest)."""

    anonymous: bool = True
    """May a client connect without an access token?"""
