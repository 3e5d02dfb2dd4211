"""The shape of the whole configuration: every part's settings, composed.

A part that may be used alone declares its own settings (`hub`, `edge`, `auth`); what belongs to
the process as a whole is declared here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from moorage.auth import AuthSettings
from moorage.edge.settings import CorsSettings, ServerSettings
from moorage.hub.settings import HubSettings, Limits, LinkSettings
from moorage.wire.errors import UsageError

DEFAULT_PATTERN: Final = "default"
"""The key under `hubs` whose settings hold for all hubs that do not say otherwise."""

# How a value may be written, where its type does not tell (`config.rules`).
Secret = Annotated[str, Meta(extra={"kind": "secret"})]
FilePath = Annotated[str, Meta(extra={"kind": "path"})]
HubName = Annotated[str, Meta(extra={"kind": "hub"})]

MASK: Final = "********"


class ConfigError(UsageError):
    """A configuration we refuse. `problems` has one line for each thing that is wrong with it."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class KeySettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Access keys. After loading, `primary` and `secondary` hold the keys, wherever they came from."""

    primary: Secret = ""
    """Signs and verifies; the one to put into connection strings."""
    secondary: Secret = ""
    """Verifies only: the other key of a rotation."""
    primary_file: FilePath = ""
    """A file that holds the primary key (for mounted secrets); read again at SIGHUP."""
    secondary_file: FilePath = ""
    """The same for the secondary key."""

    def __repr__(self) -> str:
        # msgspec's own repr would print the keys into tracebacks and debug lines.
        primary, secondary = (MASK if key else "" for key in (self.primary, self.secondary))
        return f"KeySettings(primary={primary!r}, secondary={secondary!r})"


class ShutdownSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a stop goes. Times in seconds."""

    grace: Annotated[float, Meta(ge=0, le=86_400)] = 1.0
    """From "not ready" to the first client closed: time for a balancer to look away."""
    spread: Annotated[float, Meta(ge=0, le=86_400)] = 10.0
    """Clients are closed evenly over this long, so that they do not all reconnect at once."""
    timeout: Annotated[float, Meta(ge=0.1, le=86_400)] = 30.0
    """After this the process ends whatever is left."""


class LogSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is logged, and how."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The quietest level that is written."""
    connects: bool = False
    """Write a line for each client that connects or is refused, too. `moorage dev` sets it."""
    client_lines_per_second: Annotated[int, Meta(ge=1, le=1_000_000)] = 100
    """Lines about disconnects that clients may cause, ten times as many after a quiet time. The rest is
    suppressed and counted; metrics count everything."""
    format: Literal["human", "json"] = "json"
    """`json`: one object a line. `human`: for a terminal (the default of `moorage dev`)."""


class MetricsSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The Prometheus endpoint."""

    enabled: bool = True
    """Serve `/metrics`. It shows hub names and volumes, never ids, users or rooms."""


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All settings of one process. Made by `config.load`; nothing in it changes afterwards."""

    server: ServerSettings = ServerSettings()
    cors: CorsSettings = CorsSettings()
    keys: KeySettings = KeySettings()
    auth: AuthSettings = AuthSettings()
    limits: Limits = Limits()
    links: LinkSettings = LinkSettings()
    default_hub: HubName = "app"
    """The hub that plain `/socket.io/` leads to."""
    allow_unlisted_hubs: bool = True
    """May clients and app servers use a hub that `hubs` does not list?"""
    hubs: dict[str, HubSettings] = {}
    shutdown: ShutdownSettings = ShutdownSettings()
    log: LogSettings = LogSettings()
    metrics: MetricsSettings = MetricsSettings()
    warnings: tuple[str, ...] = ()
    """What is allowed but worth saying at the start. Not a setting."""
