"""The JSON answers of the Admin API, besides those in `wire.inspect`. `missing` names the nodes whose part is
not in an answer."""

from __future__ import annotations

from typing import Any

from moorage.wire.inspect import ConnectionRow, HubRow, Rows


class SessionInfo(Rows, frozen=True, kw_only=True):
    """The caller, and the node that answers. `expires` in epoch seconds; null for a key."""

    role: str
    expires: float | None
    node: str
    version: str
    region: str
    trace_payloads: bool


class Partial(Rows, frozen=True, kw_only=True):
    """Base of the answers about several nodes."""

    missing: list[str]


class Nodes(Partial, frozen=True, kw_only=True):
    """All nodes."""

    nodes: list[dict[str, Any]]


class Hubs(Partial, frozen=True, kw_only=True):
    """All hubs, by name."""

    hubs: list[HubRow]


class Connections(Partial, frozen=True, kw_only=True):
    """One page. It may hold fewer rows than `limit` although `next` is set."""

    connections: list[ConnectionRow]
    next: str | None
    limited: bool
    """True if a node stopped its search early, because it had looked at very many connections."""


class Done(Partial, frozen=True, kw_only=True):
    """The answer to an action. `connections`: how many it was carried out for."""

    connections: int
