"""The JSON answers of the Admin API, besides those in `wire.inspect.forms`. `missing` names the nodes whose
part is not in an answer."""

from __future__ import annotations

from moorage.wire.inspect.forms import (
    ActionRow,
    AppRow,
    BusyRow,
    ConnectionRow,
    DisconnectRow,
    HubRow,
    Point,
    RoomRow,
    Rows,
)


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


class NodeApp(Rows, frozen=True, kw_only=True):
    """One app server at one node, as the node announces it to others."""

    hub: str
    id: str
    instance: str
    dialect: str
    clients: int
    up: bool
    draining: bool
    home: bool


class NodeRow(Rows, frozen=True, kw_only=True, omit_defaults=True):
    """One node. Those from `cpu` on are left out if it did not answer in time."""

    name: str
    incarnation: str
    region: str
    advertise: str
    version: str
    protocol: str
    state: str
    """"ready", or why the node takes no new clients."""
    heartbeat_age: float
    clients: int
    app_servers: list[NodeApp]
    cpu: float | None = None
    """CPU cores in use."""
    memory: int | None = None
    loop_lag: float | None = None
    """Largest delay of the event loop in the last minute."""
    queued_bytes: int | None = None
    uptime: float | None = None
    sockets: int | None = None
    rooms: int | None = None
    messages_in: int | None = None
    """From clients, since the start."""
    messages_out: int | None = None


class Nodes(Partial, frozen=True, kw_only=True):
    """All nodes."""

    nodes: list[NodeRow]


class Hubs(Partial, frozen=True, kw_only=True):
    """All hubs, by name."""

    hubs: list[HubRow]


class Connections(Partial, frozen=True, kw_only=True):
    """One page. It may hold fewer rows than `limit` although `next` is set."""

    connections: list[ConnectionRow]
    next: str | None
    limited: bool
    """True if a node stopped its search early, because it had looked at very many connections."""


class Busiest(Partial, frozen=True, kw_only=True):
    """The busiest connections, the busiest first."""

    connections: list[BusyRow]
    limited: bool
    """True if a node stopped its search early, because it had looked at very many connections."""


class Done(Partial, frozen=True, kw_only=True):
    """The answer to an action. `connections`: how many it was carried out for."""

    connections: int


class Accepted(Rows, frozen=True, kw_only=True):
    """The answer to an action whose end is not waited for."""


class Apps(Partial, frozen=True, kw_only=True):
    """All app servers, by hub, id and node."""

    apps: list[AppRow]


class Rooms(Partial, frozen=True, kw_only=True):
    """The largest rooms, the largest first. In a cluster a room may be left out that is large in total, but
    not among the largest of any node."""

    rooms: list[RoomRow]
    total: int
    """Number of rooms that match. A room with members on several nodes counts once for each."""
    limited: bool
    """True if a node stopped its search early, because it had looked at very many rooms."""


class History(Partial, frozen=True, kw_only=True):
    """Figures of one node, or of all nodes added up, the oldest first."""

    step: int
    """Seconds between two points."""
    points: list[Point]
    reasons: dict[str, int]
    """Disconnects by reason in this time."""
    refusals: dict[str, int]
    """Refusals by reason in this time."""


class Disconnects(Partial, frozen=True, kw_only=True):
    """The latest ends of connections, the newest first."""

    disconnects: list[DisconnectRow]


class Actions(Partial, frozen=True, kw_only=True):
    """The latest actions, the newest first."""

    actions: list[ActionRow]
