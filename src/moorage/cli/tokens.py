"""`moorage token`: work with access tokens."""

# ruff: noqa: PLC0415 - commands import what they need when they run

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from moorage.cli.options import ALL_ADDRESSES, config_option, flags, local_url

if TYPE_CHECKING:
    from moorage.config.model import Config

TWO_KEYS = "--connection-string already has a key: omit --access-key and -c"


@click.group()
def token() -> None:
    """Work with access tokens."""


@token.command("create")
@click.option("--hub", metavar="HUB", required=True, help="The hub of the token.")
@click.option("--user", metavar="USER", help="User id (claim `sub`).")
@click.option("--ttl", metavar="DURATION", help="Lifetime of the token.  [default: auth.token_ttl, 1h]")
@click.option("--group", "groups", metavar="GROUP", multiple=True, help="Group to join. May be repeated.")
@click.option("--role", "roles", metavar="ROLE", multiple=True, help="Role. May be repeated.")
@click.option(
    "--endpoint",
    metavar="URL",
    help="URL by which clients reach the service.  [default: server.public_endpoint, or host and port]",
)
@click.option("--access-key", metavar="KEY", help="Key to sign with.  [default: keys.primary]")
@click.option(
    "--connection-string",
    metavar="STRING",
    help="Endpoint and key in one.  [default: MOORAGE_CONNECTION_STRING, if nothing else gives a key]",
)
@config_option
def token_create(
    *,
    hub: str,
    user: str | None,
    ttl: str | None,
    groups: tuple[str, ...],
    roles: tuple[str, ...],
    endpoint: str | None,
    access_key: str | None,
    connection_string: str | None,
    path: str | None,
) -> None:
    """Print an access token for a client."""
    import time
    from urllib.parse import quote

    from moorage.auth import AccessKeys, sign
    from moorage.config import load

    if connection_string and (access_key or path):
        raise click.UsageError(TWO_KEYS)
    given = {"keys.primary": access_key, "auth.token_ttl": ttl, "server.public_endpoint": endpoint}
    if connection_string:
        given |= _from_string(connection_string, endpoint)
    settings = load.load(path, os.environ, flags((), given))
    from_environment = os.environ.get("MOORAGE_CONNECTION_STRING", "").strip()
    if not settings.keys.primary and from_environment:
        settings = load.load(path, os.environ, flags((), given | _from_string(from_environment, endpoint)))
    if not settings.keys.primary:
        raise click.UsageError(
            "no key to sign with: give --access-key, --connection-string, -c, MOORAGE_KEYS_PRIMARY or "
            "MOORAGE_CONNECTION_STRING"
        )
    audience = f"{_endpoint(settings)}/clients/socketio/hubs/{quote(_hub(hub), safe='')}"
    keys = AccessKeys(settings.keys.primary, settings.keys.secondary)
    now = time.time()
    click.echo(sign(keys, audience, now, settings.auth.token_ttl, user=user, groups=groups, roles=roles))


@token.command("check")
@click.argument("given", metavar="TOKEN")
@click.option("--hub", metavar="HUB", help="The hub that it should be for.")
@click.option(
    "--endpoint",
    metavar="URL",
    help="URL by which clients reach the service.  [default: server.public_endpoint, or that of the token]",
)
@click.option(
    "--access-key", metavar="KEY", help="Key to check it with.  [default: those of the configuration]"
)
@click.option("--connection-string", metavar="STRING", help="Endpoint and key in one.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
@config_option
def token_check(
    given: str,
    *,
    hub: str | None,
    endpoint: str | None,
    access_key: str | None,
    connection_string: str | None,
    as_json: bool,
    path: str | None,
) -> None:
    """Say whether the service would accept a token, and if not, why and what to do.

    TOKEN may be - for standard input. No service is asked: with a key the signature is checked with the same
    code. The exit code is 3 if the token would be refused.
    """
    import sys
    import time

    from moorage.cli.doctor import token as doctor
    from moorage.cli.doctor.findings import FAILED, document, failed, lines
    from moorage.config import load

    if connection_string and (access_key or path):
        raise click.UsageError(TWO_KEYS)
    values = {"keys.primary": access_key}
    if connection_string:
        values |= _from_string(connection_string, endpoint)
    settings = load.load(path, os.environ, flags((), values))
    text = (sys.stdin.read() if given == "-" else given).strip()
    base = endpoint or settings.server.public_endpoint
    found = list(doctor.findings(text, settings, now=time.time(), hub=hub, base=base))
    click.echo(document(found) if as_json else lines(found))
    if failed(found):
        raise SystemExit(FAILED)


def _from_string(text: str, endpoint: str | None) -> dict[str, str | None]:
    """The settings that a connection string stands for. `endpoint` goes before its own."""
    from moorage.wire import connection_string
    from moorage.wire.errors import UsageError

    try:
        parsed = connection_string.parse(text)
    except UsageError as error:
        raise click.UsageError(str(error)) from None
    return {"keys.primary": parsed.key, "server.public_endpoint": endpoint or parsed.endpoint}


def _hub(name: str) -> str:
    from moorage.config.rules import Rule, expected
    from moorage.wire.azure.dataplane import HUB_NAME

    if not HUB_NAME.fullmatch(name):
        raise click.UsageError(f"--hub {name}: expected {expected(Rule('hub'))}")
    return name


def _endpoint(settings: Config) -> str:
    server = settings.server
    if server.public_endpoint:
        return server.public_endpoint
    if server.port == 0 or server.host in ALL_ADDRESSES:
        # The service would refuse a token for a guessed address, and the reason would be hard to find.
        raise click.UsageError(
            "give --endpoint: the configuration does not name the address by which clients reach the service"
        )
    return local_url(server)
