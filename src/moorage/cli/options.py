"""Options that several commands share."""

# ruff: noqa: PLC0415 - commands import what they need when they run

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from moorage.edge.settings import ServerSettings

ALL_ADDRESSES: Final = {"0.0.0.0": "127.0.0.1", "::": "::1", "*": "127.0.0.1"}  # noqa: S104 - not bound
"""Values of `server.host` that name no address to connect to, and the one to use on this machine. A service
that listens at `::` takes no connections over IPv4."""

config_option = click.option(
    "-c",
    "--config",
    "path",
    metavar="FILE",
    type=click.Path(dir_okay=False),
    help="Configuration file: YAML, or TOML or JSON by its suffix.",
)
set_option = click.option(
    "--set",
    "assignments",
    metavar="PATH=VALUE",
    multiple=True,
    help="Override one setting, such as --set limits.max_payload=2MiB. May be repeated.",
)

workers_option = click.option(
    "--workers",
    metavar="N|auto",
    help="Processes that share the port; auto: one for each CPU.  [default: 1]",
)


def flags(assignments: Sequence[str], named: dict[str, Any] | None = None) -> dict[str, Any]:
    """The settings of `--set` and of the options that were given, by path."""
    found: dict[str, Any] = {}
    for text in assignments:
        path, equals, value = text.partition("=")
        if not equals:
            raise click.UsageError(f"--set {text}: expected PATH=VALUE")
        found[path.strip()] = value
    found.update({path: value for path, value in (named or {}).items() if value is not None})
    return found


def local_host(server: ServerSettings) -> str:
    """The address or name by which this machine reaches a service with these settings."""
    return ALL_ADDRESSES.get(server.host, server.host)


def local_url(server: ServerSettings) -> str:
    """The URL by which this machine reaches a service with these settings."""
    host = local_host(server)
    scheme = "https" if server.tls.cert_file else "http"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{server.port}"


def why_unreached(error: Exception) -> str:
    """Why a request got no answer, with the remedy for a certificate of an authority of one's own."""
    # Commands that make no requests start faster without it.
    import ssl

    reason = getattr(error, "reason", error)
    remedy = ""
    if isinstance(reason, ssl.SSLCertVerificationError):
        remedy = " (if its authority is your own, name its certificate in SSL_CERT_FILE)"
    return f"{reason}{remedy}"


def new_key() -> str:
    """A fresh access key."""
    # 32 random bytes in 43 characters that need no quoting in a connection string or a shell.
    import secrets

    return secrets.token_urlsafe(32)
