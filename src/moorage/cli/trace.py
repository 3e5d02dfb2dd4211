"""`moorage trace`: packets while they pass, of one user, connection, room or app server, or of a sample."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any, Final

import click

from moorage.cli.admin import Access, admin_options
from moorage.cli.tables import plain, size

PATH: Final = "/api/v1/trace"
ENDED: Final = 3
"""The exit code if the service has ended the trace."""
KINDS: Final = ("user", "connection", "room", "app_server", "sample")
_ARROWS: Final = {"in": ("->", "cyan"), "out": ("<-", "green")}
_STATES: Final = {"closed": "red", "refused": "red", "opened": "yellow"}


@click.command()
@click.option("--user", metavar="USER", help="All connections of this user.")
@click.option("--connection", metavar="ID", help="One connection.")
@click.option("--room", metavar="ROOM", help="Emits to a room, its members, and what they send.")
@click.option("--app-server", metavar="ID", help="The clients of an app server.")
@click.option(
    "--sample",
    metavar="FRACTION",
    type=click.FloatRange(0, 1, min_open=True),
    help="This part of all connections, such as 0.01.",
)
@click.option("--namespace", metavar="NAME", help="Namespace of the room.  [default: /]")
@click.option("--hub", metavar="HUB", help="Only this hub.")
@click.option("--payload", is_flag=True, help="Also the data (role operate, setting admin.trace_payloads).")
@click.option("--count", metavar="N", type=click.IntRange(min=1), help="End after this many events.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line.")
@admin_options
def trace(
    *,
    access: Access,
    payload: bool,
    count: int | None,
    as_json: bool,
    **what: Any,
) -> None:
    """Show packets while they pass, on all nodes of the cluster.

    Give one of --user, --connection, --room, --app-server and --sample. The exit code is 3 if the service
    ends the trace, because it drains or its keys have changed.
    """
    if sum(what[kind] is not None for kind in KINDS) != 1:
        raise click.UsageError("give one of --user, --connection, --room, --app-server and --sample")
    query = {**what, "payload": 1 if payload else None}
    show: Callable[[str, dict[str, Any]], str] = as_line if as_json else line
    seen = 0
    for name, data in access.api().stream(PATH, query):
        click.echo(show(name, data))
        if name == "end":
            raise SystemExit(ENDED)
        seen += name in ("packet", "state")
        if seen == count:
            return
    raise SystemExit(ENDED)


def as_line(name: str, data: dict[str, Any]) -> str:
    """An event as one line of JSON."""
    return json.dumps({"kind": name, **data}, ensure_ascii=False)


def line(name: str, data: dict[str, Any]) -> str:
    """An event as a line for people."""
    if name == "packet":
        return _packet(data)
    if name == "state":
        return _state(data)
    if name == "dropped":
        return click.style(f"{data['count']} packets are not shown: there are too many", fg="yellow")
    if name == "watching":
        connections, more = data["connections"], " (more match)" if data["limited"] else ""
        noun = "connection" if connections == 1 else "connections"
        return click.style(f"{plain(data['node'])} follows {connections} {noun}{more}", dim=True)
    return click.style(plain(f"the service ends the trace: {data['message']} ({data['number']})"), fg="red")


def _packet(data: dict[str, Any]) -> str:
    arrow, colour = _ARROWS[data["direction"]]
    parts = [plain(data["namespace"] or ""), click.style(plain(data["event"] or data["type"]), bold=True)]
    if data["event"] is None or data["type"] != "event":
        parts[1] = plain(data["type"])
    if data["ack"] is not None:
        parts.append(f"#{data['ack']}")
    parts.append(size(data["size"]))
    if data.get("attachments"):
        parts.append(f"({data['attachments']} binary)")
    if data["ack_ms"] is not None:
        parts.append(click.style(f"{data['ack_ms']:.1f} ms", fg="magenta"))
    if "recipients" in data:
        parts.append(f"to {data['recipients']}")
    if data.get("payload"):
        parts.append(click.style(plain(data["payload"]), dim=True))
    return _with_head(data, click.style(arrow, fg=colour), parts)


def _state(data: dict[str, Any]) -> str:
    state = data["state"]
    parts = [click.style(state, fg=_STATES.get(state), bold=True)]
    parts += [plain(data[name]) for name in ("namespace", "room", "transport") if data.get(name)]
    if data.get("reason"):
        parts.append(f"{data['reason']} ({data['number']})")
    if data.get("who"):
        parts.append(f"by the {data['who']}")
    if data.get("age") is not None:
        parts.append(f"after {data['age']:.1f} s")
    if data.get("detail"):
        parts[-1] += f": {plain(data['detail'])}"
    if data.get("claimed"):
        parts.append("(the token is not valid, or was not checked: anybody can have written the user's name)")
    return _with_head(data, "--", parts)


def _with_head(data: dict[str, Any], mark: str, parts: list[str]) -> str:
    moment = time.strftime("%H:%M:%S", time.localtime(data["time"]))
    thousandths = int(data["time"] % 1 * 1_000)
    who = plain(data["user"] or data["connection"] or "-")
    head = f"{moment}.{thousandths:03} {plain(data['node'])} {plain(data['app_server'] or '-')} {who}"
    return " ".join((head, mark, *filter(None, parts)))
