"""Settings of the hub layer. `config` composes them with those of the other parts. A field's `Meta` holds the
range that the configuration accepts. Code that builds a settings object itself is not checked."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from moorage.wire.sizes import GIB, Size

RateText = Annotated[str, Meta(extra={"kind": "rate"})]
"""Such as `10/s` or `600/m burst 50`; "" for no limit."""


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits for peers. A peer that exceeds one is refused or closed with a numbered reason."""

    max_payload: Annotated[Size, Meta(ge=1024, le=GIB)] = 1_000_000
    """Maximum bytes of one client message or POST body. The app server's `maxHttpBufferSize` may lower it."""
    max_attachments: Annotated[int, Meta(ge=0, le=10_000)] = 10
    """Maximum binary attachments of one packet (socket.io-parser's default since CVE-2026-33151)."""
    max_namespaces: Annotated[int, Meta(ge=1, le=10_000)] = 100
    """Maximum namespaces that are connected or connecting on one connection."""
    max_groups: Annotated[int, Meta(ge=1, le=10_000_000)] = 10_000
    """Maximum groups (rooms) of one connection, in all namespaces."""
    max_connections: Annotated[int, Meta(ge=1, le=100_000_000)] = 1_000_000
    """Maximum client connections of this node."""
    outbox_bytes: Annotated[Size, Meta(ge=1024, le=16 * GIB)] = 4 * 1024 * 1024
    """Bytes queued for one client above which it must read within `slow_after`."""
    slow_after: Annotated[float, Meta(ge=0.1, le=3600)] = 5.0
    """Time after which a client that reads nothing, with more than `outbox_bytes` queued, is closed."""
    outbox_hard_bytes: Annotated[Size, Meta(ge=1024, le=64 * GIB)] = 32 * 1024 * 1024
    """Bytes queued for one client above which it is closed at once. A single emit may be larger."""
    outbox_total_bytes: Annotated[Size, Meta(ge=1024**2, le=1024 * GIB)] = 512 * 1024 * 1024
    """Bytes queued for all clients above which those that have read nothing for longest are closed."""


class RecoverySettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Connection state recovery in one hub. A client whose missed events were dropped because of a limit gets
    a new session."""

    recovery_max_disconnection: Annotated[float, Meta(ge=0, le=86_400)] = 600.0
    """Longest time that a client may be away; app servers ask for less. 0 switches recovery off."""
    recovery_default_disconnection: Annotated[float, Meta(ge=0, le=86_400)] = 0.0
    """The time for app servers that do not ask for recovery; 0: they have none."""
    recovery_max_parked: Annotated[int, Meta(ge=1, le=100_000_000)] = 100_000
    """Maximum sockets whose clients are away, at this node. The oldest are forgotten first."""
    recovery_session_bytes: Annotated[Size, Meta(ge=1024, le=GIB)] = 1024 * 1024
    """Maximum bytes of the events for one socket alone, of all events that one socket has missed, and of the
    app's data of one socket."""
    recovery_session_events: Annotated[int, Meta(ge=1, le=10_000_000)] = 10_000
    """Maximum number of the events for one socket alone, and of all events that one socket has missed."""
    recovery_room_bytes: Annotated[Size, Meta(ge=1024, le=16 * GIB)] = 8 * 1024 * 1024
    """Maximum bytes of the events for one room."""
    recovery_room_events: Annotated[int, Meta(ge=1, le=100_000_000)] = 50_000
    """Maximum number of the events for one room."""
    recovery_hub_bytes: Annotated[Size, Meta(ge=1024, le=1024 * GIB)] = 256 * 1024 * 1024
    """Maximum bytes of the events for all rooms and sockets of the hub; as many for the app's data of sockets
    whose clients are away."""
    recovery_hub_events: Annotated[int, Meta(ge=1, le=1_000_000_000)] = 1_000_000
    """Maximum number of the events for all rooms and sockets of the hub."""


class HubSettings(RecoverySettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of one hub (`hubs.NAME` in the file; `hubs.default` is the pattern for all hubs)."""

    anonymous: bool = True
    """Whether a client may connect without an access token."""
    max_connections: Annotated[int, Meta(ge=0, le=100_000_000)] = 0
    """Maximum client connections of the hub at one node; 0 for no limit but `limits.max_connections`."""
    max_connections_per_user: Annotated[int, Meta(ge=0, le=100_000_000)] = 0
    """Maximum client connections of one user at one node; 0 for no limit."""
    max_rooms: Annotated[int, Meta(ge=0, le=1_000_000_000)] = 0
    """Maximum rooms of the hub at one node; 0 for no limit. Namespaces and the private rooms of sockets
    count, but only joins by app servers and REST are refused."""
    connects_per_address: RateText = ""
    """New connections of one address at one node, such as `20/m` or `1/s burst 30`. An IPv6 address counts as
    its /64 network."""
    connects_per_user: RateText = ""
    """New connections of one user at one node."""
    messages_per_client: RateText = ""
    """Engine.IO packets of one client, such as `100/s`. A client that exceeds it is closed."""
    messages_per_user: RateText = ""
    """Engine.IO packets of all clients of one user at one node together."""
    messages_per_address: RateText = ""
    """Engine.IO packets of all clients of one address at one node together."""
    on_app_loss: Literal["close", "move"] = "close"
    """The clients of a lost app server: `close` them, so that they reconnect, or `move` them to another one,
    with their ids and rooms, but without the app's data."""

    @property
    def counts_messages(self) -> bool:
        """True if a limit for messages is set."""
        return bool(self.messages_per_client or self.messages_per_user or self.messages_per_address)
