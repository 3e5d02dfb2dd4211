"""Settings of the hub layer. `config` composes them; units are in the names' docs."""

from __future__ import annotations

import msgspec


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a stranger may cost us. Going past one ends with a numbered reason."""

    max_payload: int = 1_000_000
    """Bytes of one client message or POST body. The app server's `maxHttpBufferSize` may lower it."""
    max_attachments: int = 10
    """Binary attachments of one packet (socket.io-parser's default since CVE-2026-33151)."""
    max_packets_per_payload: int = 0
    """Packets in one polling POST. 0 means as many as `max_payload` has room for."""
    max_namespaces: int = 100
    """Namespaces connected or connecting on one connection."""
    max_groups: int = 10_000
    """Groups (rooms) of one connection, all namespaces together."""
    max_connections: int = 1_000_000
    """Client connections of this node."""
    outbox_bytes: int = 4 * 1024 * 1024
    """Bytes queued for one client from which on it must read, or is closed as `slow-client`."""
    slow_after: float = 5.0
    """How long a client may read nothing while more than `outbox_bytes` is queued for it."""
    outbox_hard_bytes: int = 32 * 1024 * 1024
    """Bytes queued for one client before it is closed as `slow-client` at once. One emit may be larger."""
    outbox_total_bytes: int = 512 * 1024 * 1024
    """Bytes queued for all clients before those are closed that have read nothing for the longest time."""
    outbox_bytes_link: int = 64 * 1024 * 1024
    """Bytes queued for one link before it is closed as `link-slow`."""


class LinkSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """App servers' links. Times in seconds."""

    grace: float = 5.0
    """How long a server id may stay away before its clients are closed."""
    keepalive: float = 40.0
    """A data frame at least this often: the azure client library drops a link silent for 120 s."""
    heartbeat: float = 5.0
    """In the moorage dialect: something at least this often, and lost after three times as long."""
    window: int = 4 * 1024 * 1024
    """In the moorage dialect: bytes that an app server may send before they are acknowledged."""
    connect_timeout: float = 35.0
    """Wait for the app server's answer to a connect event (its SDK gives up after 30 s)."""
    invoke_timeout: float = 120.0
    """How long an `:invoke` stream stays open for missing acks."""
    max_frame: int = 16 * 1024 * 1024
    """Bytes of one tunnel frame that we read; of one batch in the moorage dialect."""
    max_waiting_bytes: int = 16 * 1024 * 1024
    """Bytes of client events that wait for an app server: held while none of its links is up; sent
    and not answered, before its clients are held back."""
    max_links_per_server: int = 32
    """Links that one server id may hold open on this node."""


class HubSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One hub's own settings (`hubs.NAME` in the file; `hubs.default` is the pattern for the rest)."""

    anonymous: bool = True
    """May a client connect without an access token?"""
