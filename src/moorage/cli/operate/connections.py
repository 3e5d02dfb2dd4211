"""`moorage connections`: list, show and close connections of clients."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

import click

from moorage.cli.admin import Access, AdminApi, admin_options
from moorage.cli.operate.lists import finish, json_option, limit_option
from moorage.cli.tables import columns, duration, note_missing, number, plain, size

PATH: Final = "/api/v1/connections"


@click.group(invoke_without_command=True)
@click.option("--hub", metavar="HUB", help="Only this hub.")
@click.option("--user", metavar="USER", help="Only this user.")
@click.option("--room", metavar="ROOM", help="Only members of this room.")
@click.option("--namespace", metavar="NAME", help="Namespace of the room, or only sockets in it.")
@click.option("--app-server", metavar="ID", help="Only clients of this app server.")
@click.option("--address", metavar="ADDRESS", help="Only clients from this address.")
@click.option("--node", metavar="NODE", help="Only this node.")
@click.option("--min-age", type=click.FloatRange(0), metavar="SECONDS", help="Only older ones.")
@click.option("--max-age", type=click.FloatRange(0), metavar="SECONDS", help="Only younger ones.")
@click.option("--min-queued", type=click.IntRange(0), metavar="BYTES", help="Only those with so much unread.")
@click.option("--cursor", metavar="TEXT", help="`next` of the page before.")
@limit_option
@json_option
@admin_options
@click.pass_context
def connections(
    context: click.Context,
    /,
    *,
    access: Access,
    as_json: bool,
    **query: str | int | float | None,
) -> None:
    """List connections of clients, or show or close one.

    All given conditions must hold. The exit code is 3 if some nodes did not answer.
    """
    context.obj = access
    if context.invoked_subcommand is not None:
        return
    answer = access.api().get(PATH, query)
    head = (
        "CONNECTION",
        "HUB",
        "USER",
        "NODE",
        "ADDRESS",
        "TRANSPORT",
        "APP SERVER",
        "AGE",
        "QUEUED",
        "IN",
        "OUT",
        "NAMESPACES",
    )
    rows = [
        (
            row["id"],
            row["hub"],
            row["user"] or "-",
            row["node"],
            row["address"] or "-",
            row["transport"],
            row["app_server"] or "-",
            duration(row["age"]),
            size(row["queued_bytes"]),
            number(row.get("messages_in")),
            number(row.get("messages_out")),
            " ".join(row["namespaces"]),
        )
        for row in answer["connections"]
    ]
    text = columns(head, rows, ("AGE", "QUEUED", "IN", "OUT"))
    finish(answer, as_json, text + (f"\nmore: --cursor {plain(answer['next'])}" if answer["next"] else ""))


@connections.command("show")
@click.argument("connection", metavar="ID")
@json_option
@admin_options
@click.pass_context
def show(
    context: click.Context,
    connection: str,
    *,
    access: Access,
    as_json: bool,
) -> None:
    """Show one connection in full: its sockets and rooms, and its handshake with masked secrets."""
    found = _api(context, access).get(f"{PATH}/{quote(connection, safe='')}")
    click.echo(json.dumps(found, indent=2, ensure_ascii=False) if as_json else _in_full(found))


@connections.command("close")
@click.argument("ids", metavar="[ID]...", nargs=-1)
@click.option("--user", metavar="USER", help="All connections of this user.")
@click.option("--room", metavar="ROOM", help="All members of this room.")
@click.option("--namespace", metavar="NAME", default="/", show_default=True, help="Namespace of the room.")
@click.option("--hub", metavar="HUB", help="Their hub; needed for --user and --room.")
@click.option("--reason", metavar="TEXT", default="", help="For the log.")
@json_option
@admin_options
@click.pass_context
def close(
    context: click.Context,
    /,
    ids: tuple[str, ...],
    *,
    access: Access,
    hub: str | None,
    as_json: bool,
    **what: str | None,
) -> None:
    """Close connections by their ids, or those of a user or of a room's members.

    Needs the role operate. The clients may connect again. The exit code is 1 if there is no such
    connection, and 3 if some nodes did not answer.
    """
    whose = {name: what[name] for name in ("user", "room") if what[name] is not None}
    if bool(ids) + len(whose) != 1:
        raise click.UsageError("give ids, or one of --user and --room")
    if not ids and hub is None:
        raise click.UsageError("--user and --room need --hub")
    api = _api(context, access)
    common = {"namespace": what["namespace"], "reason": what["reason"]}
    targets: list[dict[str, str | None]] = [{"hub": hub, **whose}]
    if ids:
        targets = [{"hub": hub or _hub_of(api, one), "connection": one} for one in ids]
    answers = [api.post("/api/v1/disconnect", {**common, **target}) for target in targets]
    closed = sum(answer["connections"] for answer in answers)
    missing = sorted({name for answer in answers for name in answer["missing"]})
    outcome = {"connections": closed, "missing": missing}
    click.echo(json.dumps(outcome) if as_json else f"closed {closed} {_noun(closed)}")
    code = note_missing(outcome)
    if not closed:
        raise click.ClickException("there is no such connection")
    if code:
        raise SystemExit(code)


def _api(context: click.Context, access: Access) -> AdminApi:
    """The options may stand before or behind the subcommand."""
    return access.over(context.obj or Access()).api()


def _hub_of(api: AdminApi, connection: str) -> str:
    return str(api.get(f"{PATH}/{quote(connection, safe='')}")["hub"])


def _noun(count: int) -> str:
    return "connection" if count == 1 else "connections"


def _in_full(found: Mapping[str, Any]) -> str:
    flags = [name for name in ("moving",) if found[name]] + ([] if found["reading"] else ["not read"])
    facts = [
        ("connection", found["id"]),
        ("hub", found["hub"]),
        ("user", found["user"] or "-"),
        ("node", found["node"]),
        ("app server", found["app_server"] or "-"),
        ("address", found["address"] or "-"),
        ("transport", found["transport"] + (f" ({', '.join(flags)})" if flags else "")),
        ("age", duration(found["age"])),
        ("queued", size(found["queued_bytes"])),
        ("messages in", number(found.get("messages_in"))),
        ("messages out", number(found.get("messages_out"))),
        ("path", found["path"]),
    ]
    facts += [(f"query {name}", ", ".join(values)) for name, values in sorted(found["query"].items())]
    facts += [(f"header {name}", ", ".join(values)) for name, values in sorted(found["headers"].items())]
    width = max(len(name) for name, _ in facts)
    lines = [f"{plain(name).ljust(width)}  {plain(value)}" for name, value in facts]
    sockets = [
        (one["namespace"], one["id"], str(one["rooms_total"]), ", ".join(one["rooms"]))
        for one in found["sockets"]
    ]
    return "\n".join([*lines, "", columns(("NAMESPACE", "SOCKET", "ROOMS", "NAMES"), sockets, ("ROOMS",))])
