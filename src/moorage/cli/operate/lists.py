"""`moorage hubs`, `moorage apps` and `moorage rooms`: lists of the whole cluster."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import click

from moorage.cli.admin import Access, admin_options
from moorage.cli.tables import columns, duration, note_missing, number

json_option: Final = click.option("--json", "as_json", is_flag=True, help="Print the JSON of the Admin API.")
limit_option: Final = click.option(
    "--limit", type=click.IntRange(1, 200), default=50, show_default=True, help="Rows at most."
)


@click.command()
@json_option
@admin_options
def hubs(*, access: Access, as_json: bool) -> None:
    """List the hubs with their connections, sockets, rooms and app servers, and the messages from and to
    clients since the nodes started. A room or an app server at several nodes counts once for each.

    The exit code is 3 if some nodes did not answer.
    """
    answer = access.api().get("/api/v1/hubs")
    head = ("HUB", "CONNECTIONS", "SOCKETS", "ROOMS", "APP SERVERS", "PARKED", "MESSAGES IN", "MESSAGES OUT")
    names = ("connections", "sockets", "rooms", "app_servers", "parked", "messages_in", "messages_out")
    rows = [(row["name"], *(number(row.get(name)) for name in names)) for row in answer["hubs"]]
    finish(answer, as_json, columns(head, rows, head[1:]))


@click.command()
@click.option("--hub", metavar="HUB", help="Only this hub.")
@json_option
@admin_options
def apps(*, access: Access, hub: str | None, as_json: bool) -> None:
    """List the app servers: each once for each node that it covers.

    The exit code is 3 if some nodes did not answer.
    """
    answer = access.api().get("/api/v1/apps", {"hub": hub})
    head = ("HUB", "APP SERVER", "NODE", "CLIENTS", "STATE", "SDK", "ADDRESS", "AGE")
    rows = [
        (
            row["hub"],
            row["id"],
            row["node"] + ("*" if row["home"] else ""),
            str(row["clients"]),
            _state(row),
            row["sdk"] or row["dialect"],
            row["address"] or "-",
            duration(row["age"]),
        )
        for row in answer["apps"]
    ]
    finish(answer, as_json, columns(head, rows, ("CLIENTS", "AGE")))


@click.command()
@click.option("--hub", metavar="HUB", help="Only this hub.")
@click.option("--namespace", metavar="NAME", help="Only this namespace.")
@click.option("--prefix", metavar="TEXT", help="Only rooms whose names begin like this.")
@limit_option
@json_option
@admin_options
def rooms(*, access: Access, as_json: bool, limit: int, **query: str | None) -> None:
    """List the largest rooms with their members.

    The exit code is 3 if some nodes did not answer.
    """
    answer = access.api().get("/api/v1/rooms", {**query, "limit": limit})
    head = ("HUB", "NAMESPACE", "ROOM", "MEMBERS")
    rows = [(row["hub"], row["namespace"], row["room"], str(row["members"])) for row in answer["rooms"]]
    text = columns(head, rows, ("MEMBERS",))
    finish(answer, as_json, text + ("\n... the largest of more rooms" if len(rows) == limit else ""))


def finish(answer: Mapping[str, Any], as_json: bool, text: str) -> None:
    """Print an answer in one form or the other, and end with the right exit code."""
    click.echo(json.dumps(answer, indent=2, ensure_ascii=False) if as_json else text)
    if code := note_missing(answer):
        raise SystemExit(code)


def _state(row: Mapping[str, Any]) -> str:
    flags: Sequence[tuple[bool, str]] = (
        (not row["up"], "away"),
        (row["draining"], "draining"),
        (row["behind"], "behind"),
        (row["emit_only"], "emits only"),
    )
    return ", ".join(text for holds, text in flags if holds) or "up"
