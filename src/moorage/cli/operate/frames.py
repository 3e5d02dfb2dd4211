"""What `moorage top` shows: samples of a service, and the tables made from two of them. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from moorage.cli.tables import columns, duration, size

VIEWS: Final = ("nodes", "hubs", "connections", "apps", "rooms")
PATHS: Final = {view: f"/api/v1/{view}" for view in VIEWS} | {"connections": "/api/v1/busiest"}
RATED: Final = {"nodes": "incarnation", "hubs": "name"}
"""Views with rates that are made from totals, and the member that tells their rows apart."""
SORTS: Final = {"rate": "messages", "rate_in": "in", "rate_out": "out", "queued_bytes": "queued"}
"""The service's names for the columns by which it can choose the busiest connections."""


class Sample(NamedTuple):
    """The answers at one time. `rows` are those of the view; `at` is in seconds."""

    at: float
    nodes: Sequence[Mapping[str, Any]]
    rows: Sequence[Mapping[str, Any]]
    missing: Sequence[str]


class Column(NamedTuple):
    """One column: its head, the member of a row that it shows and sorts by, and how it is shown."""

    head: str
    member: str
    show: Callable[[Any], str] = str


def _cores(value: Any) -> str:
    return "-" if value is None else f"{value:.2f}"


def _seconds(value: Any) -> str:
    return "-" if value is None else duration(value)


def _bytes(value: Any) -> str:
    return "-" if value is None else size(value)


def _milliseconds(value: Any) -> str:
    return "-" if value is None else f"{value * 1000:.0f} ms"


def _count(value: Any) -> str:
    return "-" if value is None else f"{value:,.0f}"


def _rate(value: Any) -> str:
    return f"{value:,.1f}"


def _flag(value: Any) -> str:
    return "yes" if value else "no"


COLUMNS: Final[dict[str, tuple[Column, ...]]] = {
    "nodes": (
        Column("NODE", "name"),
        Column("STATE", "state"),
        Column("CLIENTS", "clients", _count),
        Column("SOCKETS", "sockets", _count),
        Column("ROOMS", "rooms", _count),
        Column("APPS", "apps", _count),
        Column("IN/S", "in_rate", _count),
        Column("OUT/S", "out_rate", _count),
        Column("CPU", "cpu", _cores),
        Column("MEMORY", "memory", _bytes),
        Column("LAG", "loop_lag", _milliseconds),
        Column("QUEUED", "queued_bytes", _bytes),
        Column("UPTIME", "uptime", _seconds),
    ),
    "hubs": (
        Column("HUB", "name"),
        Column("CONNECTIONS", "connections", _count),
        Column("SOCKETS", "sockets", _count),
        Column("ROOMS", "rooms", _count),
        Column("APPS", "app_servers", _count),
        Column("PARKED", "parked", _count),
        Column("IN/S", "in_rate", _count),
        Column("OUT/S", "out_rate", _count),
    ),
    "connections": (
        Column("USER", "user"),
        Column("CONNECTION", "id"),
        Column("HUB", "hub"),
        Column("NODE", "node"),
        Column("MSG/S", "rate", _rate),
        Column("IN/S", "rate_in", _rate),
        Column("OUT/S", "rate_out", _rate),
        Column("QUEUED", "queued_bytes", _bytes),
        Column("AGE", "age", _seconds),
    ),
    "apps": (
        Column("APP SERVER", "id"),
        Column("HUB", "hub"),
        Column("NODE", "node"),
        Column("CLIENTS", "clients", _count),
        Column("UP", "up", _flag),
        Column("DRAINING", "draining", _flag),
        Column("BEHIND", "behind", _flag),
        Column("AGE", "age", _seconds),
    ),
    "rooms": (
        Column("ROOM", "room"),
        Column("HUB", "hub"),
        Column("NAMESPACE", "namespace"),
        Column("MEMBERS", "members", _count),
    ),
}
DEFAULT_SORT: Final = {
    "nodes": "name",
    "hubs": "connections",
    "connections": "rate",
    "apps": "clients",
    "rooms": "members",
}


def rates(before: Sample, after: Sample) -> list[dict[str, Any]]:
    """The nodes of the second sample, with messages a second since the first one. A node that is new or has
    been restarted has none."""
    nodes = _rated(before.nodes, after.nodes, after.at - before.at, RATED["nodes"])
    return [{**node, "apps": len(node["app_servers"])} for node in nodes]


def rows_of(view: str, before: Sample, after: Sample) -> Sequence[Mapping[str, Any]]:
    """The rows of a view, with messages a second if it shows them."""
    if view == "nodes":
        return rates(before, after)
    if view == "connections":
        return [{**row, "rate": row["rate_in"] + row["rate_out"]} for row in after.rows]
    if view in RATED:
        return _rated(before.rows, after.rows, after.at - before.at, RATED[view])
    return after.rows


def _rated(
    before: Sequence[Mapping[str, Any]], after: Sequence[Mapping[str, Any]], seconds: float, key: str
) -> list[dict[str, Any]]:
    known = {row.get(key): row for row in before}
    found = []
    for row in after:
        rated = {**row, "in_rate": None, "out_rate": None}
        old = known.get(row[key])
        if old is not None and seconds > 0:
            for name, total in (("in_rate", "messages_in"), ("out_rate", "messages_out")):
                if row.get(total) is not None and old.get(total) is not None:
                    # After the restart of a node the sums of a hub are smaller.
                    grown = row[total] - old[total]
                    rated[name] = grown / seconds if grown >= 0 else None
        found.append(rated)
    return found


def ordered(rows: Sequence[Mapping[str, Any]], member: str, *, up: bool) -> list[Mapping[str, Any]]:
    """Rows by one member; those without a value come last."""
    with_value = [row for row in rows if row.get(member) is not None]
    without = [row for row in rows if row.get(member) is None]
    return sorted(with_value, key=lambda row: row[member], reverse=not up) + without


def frame(view: str, before: Sample, after: Sample, member: str, *, up: bool, most: int) -> str:
    """The whole text: a line about the cluster, and the table of the view with at most `most` rows."""
    nodes = rates(before, after)
    shown = COLUMNS[view]
    rows = ordered(rows_of(view, before, after), member, up=up)
    head = [column.head + (("^" if up else "v") if column.member == member else "") for column in shown]
    texts = [
        [column.show(row[column.member]) if row.get(column.member) is not None else "-" for column in shown]
        for row in rows[:most]
    ]
    right = [name for name, column in zip(head, shown, strict=True) if column.show not in (str, _flag)]
    return "\n".join([summary(nodes, after.missing), "", columns(head, texts, right)])


def summary(nodes: Sequence[Mapping[str, Any]], missing: Sequence[str]) -> str:
    """The line about the whole cluster."""

    def total(name: str) -> float:
        return sum(node.get(name) or 0 for node in nodes)

    ready = sum(node["state"] == "ready" for node in nodes)
    parts = [
        f"{len(nodes)} nodes" if len(nodes) != 1 else "1 node",
        f"{ready} ready",
        f"{total('clients'):,.0f} clients" if total("clients") != 1 else "1 client",
        f"in {total('in_rate'):,.0f}/s",
        f"out {total('out_rate'):,.0f}/s",
        f"CPU {total('cpu'):.2f}",
        f"memory {size(total('memory'))}",
        f"queued {size(total('queued_bytes'))}",
    ]
    return "   ".join([*parts, f"no answer: {', '.join(missing)}"] if missing else parts)


def member_of(view: str, name: str) -> str | None:
    """The member of the column that a user names by its head or its member; None if there is none."""
    wanted = _plain(name)
    named = (column.member for column in COLUMNS[view] if wanted in (column.member, _plain(column.head)))
    return next(named, None)


def _plain(name: str) -> str:
    return re.sub(r"[^a-z]", "_", name.lower())
