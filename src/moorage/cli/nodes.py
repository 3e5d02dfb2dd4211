"""`moorage nodes`: the nodes of a cluster, as one of them lists them."""

# ruff: noqa: PLC0415 - commands import what they need when they run

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from http.client import HTTPException
from typing import Any, Final
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import click

from moorage.cli.admin import Access
from moorage.cli.options import local_url, why_unreached
from moorage.cli.tables import columns

PATH: Final = "/api/v1/nodes"
SECONDS: Final = 10.0


@click.command()
@click.option(
    "--connection-string",
    envvar="MOORAGE_CONNECTION_STRING",
    metavar="TEXT",
    help="Endpoint and key of any node.  [default: MOORAGE_CONNECTION_STRING, or the configuration]",
)
@click.option(
    "-c",
    "--config",
    "path",
    metavar="FILE",
    type=click.Path(dir_okay=False),
    help="Configuration file with server.public_endpoint (or host and port) and keys.primary.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the JSON of the REST API.")
@click.option(
    "--key", envvar="MOORAGE_ADMIN_KEY", metavar="KEY", help="Key of the Admin API, instead of an access key."
)
@click.option("--url", envvar="MOORAGE_ADMIN_URL", metavar="URL", help="Any node, for --key.")
def nodes(
    *, connection_string: str | None, path: str | None, as_json: bool, url: str | None, key: str | None
) -> None:
    """List the nodes of the cluster, their clients and their app servers.

    Takes an access key (--connection-string, -c) or a key of the Admin API (--key, --url). The exit code is
    1 if no node answers, and 3 if a node is not ready.
    """
    if key and not connection_string:
        found = Access(url, key, path).api().get(PATH)["nodes"]
    else:
        found = fetch(*_address(connection_string, path))
    if as_json:
        click.echo(json.dumps({"nodes": found}, indent=2))
    else:
        click.echo(table(found))
    if any(node["state"] != "ready" for node in found):
        raise SystemExit(3)


def _address(connection_string: str | None, path: str | None) -> tuple[str, str]:
    if connection_string and not path:
        parts = (part.partition("=") for part in connection_string.split(";"))
        members = {name.strip().lower(): value.strip() for name, _, value in parts}
        if not members.get("endpoint") or not members.get("accesskey"):
            raise click.UsageError("the connection string needs an Endpoint and an AccessKey")
        return members["endpoint"], members["accesskey"]
    from moorage.config import load

    settings = load.load(path, os.environ, {})
    if not settings.keys.primary:
        raise click.UsageError("no key: give --connection-string, -c or MOORAGE_KEYS_PRIMARY")
    return settings.server.public_endpoint or local_url(settings.server), settings.keys.primary


def fetch(endpoint: str, key: str) -> list[dict[str, Any]]:
    """Ask a node. Raises `ClickException`."""
    import time

    from moorage.auth import AccessKeys, sign

    url = endpoint.rstrip("/") + PATH
    token = sign(AccessKeys(key, None), url, time.time(), 60.0)
    request = Request(url, headers={"Authorization": f"Bearer {token}"})  # noqa: S310 - the user's own URL
    try:
        with urlopen(request, timeout=SECONDS) as answer:  # noqa: S310
            found: list[dict[str, Any]] = json.load(answer)["nodes"]
    except HTTPError as error:
        raise click.ClickException(f"{url}: {error.code} {_message(error)}") from None
    except (OSError, HTTPException, ValueError, KeyError) as error:
        raise click.ClickException(f"{url}: {why_unreached(error)}") from None
    return found


def _message(error: HTTPError) -> str:
    try:
        return str(json.load(error)["message"])
    except (ValueError, KeyError, TypeError):
        return str(error.reason)


def table(found: Sequence[dict[str, Any]]) -> str:
    """The nodes, then the app servers with the nodes that they cover (`*` marks the home)."""
    head = ("NODE", "INCARNATION", "REGION", "STATE", "VERSION", "HEARTBEAT", "CLIENTS", "APPS", "ADVERTISE")
    rows = [
        (
            node["name"],
            node["incarnation"],
            node["region"] or "-",
            node["state"] or "-",
            node["version"] or "-",
            f"{node['heartbeat_age']:.1f}s",
            str(node["clients"]),
            str(len(node["app_servers"])),
            node["advertise"] or "-",
        )
        for node in found
    ]
    apps: dict[tuple[str, str, str], list[tuple[str, int]]] = {}
    for node in found:
        for app in node["app_servers"]:
            place = node["name"] + ("*" if app["home"] else "") + ("" if app["up"] else " (down)")
            apps.setdefault((app["hub"], app["id"], app["dialect"]), []).append((place, app["clients"]))
    second = [
        (hub, server, dialect, str(sum(clients for _, clients in at)), ", ".join(place for place, _ in at))
        for (hub, server, dialect), at in sorted(apps.items())
    ]
    text = columns(head, rows)
    if second:
        text += "\n\n" + columns(("HUB", "APP SERVER", "DIALECT", "CLIENTS", "NODES"), second)
    return text
