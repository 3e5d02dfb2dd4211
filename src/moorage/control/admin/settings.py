"""Settings of the Admin API and the dashboard."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import Meta

# Forms of values that the type alone does not define (`config.rules`).
Secret = Annotated[str, Meta(extra={"kind": "secret"})]
FilePath = Annotated[str, Meta(extra={"kind": "path"})]

LEAST_KEY: Final = 16
"""Minimum characters of a key."""


class AdminSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The Admin API and the dashboard. Both are off while no key is set. Keys have at least 16 characters,
    and differ from each other and from the access keys. A reload (SIGHUP) changes keys; the first one needs
    a restart."""

    read_key: Secret = ""
    """Shows everything, changes nothing."""
    operate_key: Secret = ""
    """Also emits, moves and disconnects clients, and drains nodes."""
    read_key_file: FilePath = ""
    """A file that holds the read key (for mounted secrets); read again at SIGHUP."""
    operate_key_file: FilePath = ""
    """The same for the operate key."""
    session_ttl: Annotated[float, Meta(ge=10, le=30 * 86_400)] = 8 * 3600.0
    """How long a login at the dashboard lasts."""
    trace_payloads: bool = False
    """Whether the live trace may show the content of packets, to holders of the operate key."""
    socketio_ui: bool = False
    """Whether the official Admin UI of Socket.IO can connect, at the path `/admin/socket.io`."""

    @property
    def enabled(self) -> bool:
        """True if there is a key."""
        return bool(self.read_key or self.operate_key)

    @property
    def serves_ui(self) -> bool:
        """True if Socket.IO's Admin UI can connect."""
        return self.enabled and self.socketio_ui

    def __repr__(self) -> str:
        # The default repr would show the keys in tracebacks and debug lines.
        read, operate = ("********" if key else "" for key in (self.read_key, self.operate_key))
        return f"AdminSettings(read_key={read!r}, operate_key={operate!r})"
