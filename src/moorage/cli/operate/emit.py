"""`moorage emit`: send an event to clients."""

from __future__ import annotations

import json
from typing import Any

import click

from moorage.cli.admin import Access, admin_options


@click.command()
@click.argument("event")
@click.argument("args", metavar="[JSON]...", nargs=-1)
@click.option("--hub", metavar="HUB", default="app", show_default=True, help="The hub.")
@click.option("--namespace", metavar="NAME", default="/", show_default=True, help="The namespace.")
@click.option("--room", "rooms", metavar="ROOM", multiple=True, help="Only to this room. May be repeated.")
@click.option(
    "--except", "except_rooms", metavar="ROOM", multiple=True, help="Not to this room. May be repeated."
)
@click.option("--user", metavar="USER", help="Only to this user.")
@click.option("--connection", metavar="ID", help="Only to this connection.")
@click.option("--json", "as_json", is_flag=True, help="Print the JSON of the Admin API.")
@admin_options
def emit(
    event: str,
    args: tuple[str, ...],
    *,
    access: Access,
    except_rooms: tuple[str, ...],
    as_json: bool,
    **whom: Any,
) -> None:
    """Send an event with its arguments, each of which is JSON, to all clients of a namespace or to some.

    Needs the role operate. The service accepts the event and does not wait for the clients.
    """
    # Hub, namespace, rooms, and a user or a connection if one is given.
    body: dict[str, Any] = {name: value for name, value in whom.items() if value is not None}
    body |= {"event": event, "args": [_value(text) for text in args], "except": except_rooms}
    answer = access.api().post("/api/v1/emit", body)
    click.echo(json.dumps(answer) if as_json else "accepted")


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        quoted = json.dumps(text, ensure_ascii=False)
        raise click.UsageError(f"{text} is not JSON; for a string write '{quoted}'") from None
