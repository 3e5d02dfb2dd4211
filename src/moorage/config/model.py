"""The whole configuration, composed of the settings of all parts. A part that may be used alone declares its
own settings (`hub`, `edge`, `auth`). The settings of the process are declared here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from moorage.auth import AuthSettings
from moorage.cluster.recovery.settings import StoreSettings
from moorage.cluster.settings import ClusterSettings, CoverageSettings
from moorage.control.admin.settings import AdminSettings
from moorage.edge.settings import CorsSettings, EdgeLimits, LinkSettings, ServerSettings
from moorage.hub.settings import HubSettings
from moorage.wire.errors import UsageError

DEFAULT_PATTERN: Final = "default"
"""The key under `hubs` whose settings apply to all hubs that do not override them."""

# Forms of values that the type alone does not define (`config.rules`).
Secret = Annotated[str, Meta(extra={"kind": "secret"})]
FilePath = Annotated[str, Meta(extra={"kind": "path"})]
HubName = Annotated[str, Meta(extra={"kind": "hub"})]
Workers = Annotated[int, Meta(ge=0, le=256, extra={"kind": "workers"})]
"""0 stands for `auto`."""

MASK: Final = "********"


class ConfigError(UsageError):
    """A refused configuration. `problems` has one line for each mistake."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class KeySettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Access keys. After loading, `primary` and `secondary` hold the keys of all sources."""

    primary: Secret = ""
    """Signs and verifies tokens; use it in connection strings."""
    secondary: Secret = ""
    """Only verifies tokens; the other key during a rotation."""
    primary_file: FilePath = ""
    """A file that holds the primary key (for mounted secrets); read again at SIGHUP."""
    secondary_file: FilePath = ""
    """The same for the secondary key."""

    def __repr__(self) -> str:
        # The default repr would show the keys in tracebacks and debug lines.
        primary, secondary = (MASK if key else "" for key in (self.primary, self.secondary))
        return f"KeySettings(primary={primary!r}, secondary={secondary!r})"


class ShutdownSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The stop of the service. Times in seconds."""

    lb_wait: Annotated[float, Meta(ge=0, le=86_400)] = 1.0
    """Time from "not ready" to the first closed client, for a load balancer to notice."""
    rate: Annotated[int, Meta(ge=1, le=1_000_000)] = 500
    """Most clients that are closed in a second, so that they do not all reconnect at once."""
    spread: Annotated[float, Meta(ge=0, le=86_400)] = 0.0
    """Shortest time over which clients are closed evenly, however few they are."""
    timeout: Annotated[float, Meta(ge=0.1, le=86_400)] = 30.0
    """Maximum time until the process ends."""


class LogSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The log."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The lowest level that is written."""
    connects: bool = False
    """Also write a line for each client that connects or is refused. `moorage dev` sets it."""
    client_lines_per_second: Annotated[int, Meta(ge=1, le=1_000_000)] = 100
    """Maximum lines a second about disconnects caused by clients; ten times as many after a quiet time. The
    rest is suppressed and counted. Metrics count everything."""
    format: Literal["human", "json"] = "json"
    """`json`: one object per line. `human`: for a terminal (the default of `moorage dev`)."""


class MetricsSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The Prometheus endpoint."""

    enabled: bool = True
    """Serve `/metrics`. It shows hub names and volumes, never ids, users or rooms."""


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All settings of one process. `config.load` makes it, and it never changes."""

    server: ServerSettings = ServerSettings()
    cors: CorsSettings = CorsSettings()
    keys: KeySettings = KeySettings()
    auth: AuthSettings = AuthSettings()
    limits: EdgeLimits = EdgeLimits()
    links: LinkSettings = LinkSettings()
    default_hub: HubName = "app"
    """The hub of the plain path `/socket.io/`."""
    allow_unlisted_hubs: bool = True
    """Whether clients and app servers may use a hub that `hubs` does not list."""
    hubs: dict[str, HubSettings] = {}
    workers: Workers = 1
    """Processes that share the port. With more than one, a supervisor starts them; `auto` is one for each CPU
    that the service may use."""
    shutdown: ShutdownSettings = ShutdownSettings()
    log: LogSettings = LogSettings()
    metrics: MetricsSettings = MetricsSettings()
    admin: AdminSettings = AdminSettings()
    cluster: ClusterSettings = ClusterSettings()
    coverage: CoverageSettings = CoverageSettings()
    recovery: StoreSettings = StoreSettings()
    warnings: tuple[str, ...] = ()
    """Warnings to log at the start. Not a setting."""
