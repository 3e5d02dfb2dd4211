"""What operators ask about nodes, and the answers: the forms of `commands.Inspect` and the Admin API's JSON.

A question holds the arguments of one operation of the Admin API. Every asked node answers with its own rows,
and the node that asked puts them together. Times and ages are in seconds, sizes in bytes. A new field has a
default, so nodes of two versions understand each other.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

CONNECTIONS: Final = "connections"
CONNECTION: Final = "connection"
BUSIEST: Final = "busiest"
HUBS: Final = "hubs"
NODE: Final = "node"
ROOMS: Final = "rooms"
ROOM_COUNTS: Final = "room-counts"
APPS: Final = "apps"
DISCONNECTS: Final = "disconnects"
HISTORY: Final = "history"
AUDIT: Final = "audit"
"""The kinds of questions."""
HISTORY_STEP: Final = 5
"""Seconds between two points of the history. Their times are multiples of it, so that those of several nodes
can be added."""

Name = Annotated[str, Meta(min_length=1, max_length=128)]
Text = Annotated[str, Meta(min_length=1, max_length=1024)]
Id = Annotated[str, Meta(min_length=1, max_length=256)]
Seconds = Annotated[float, Meta(ge=0, le=1e12)]
Bytes = Annotated[int, Meta(ge=0, le=2**53)]
Count = Annotated[int, Meta(ge=0)]
CursorText = Annotated[str, Meta(pattern="^[^/]{1,128}/[^/]{1,256}$")]
"""A hub's name and a connection's id."""
MAX_ROWS: Final = 200


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """Base of the arguments; a question without any."""


class ConnectionsQuery(Question, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All given conditions must hold."""

    hub: Name | None = None
    user: Text | None = None
    room: Text | None = None
    namespace: Text | None = None
    """The namespace of `room`, by default `/`; without `room`, only connections with a socket in it."""
    app_server: Text | None = None
    """Id of the app server that serves it."""
    address: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    """The client's address."""
    node: Name | None = None
    """Name or incarnation of the connection's node."""
    min_age: Seconds | None = None
    max_age: Seconds | None = None
    min_queued: Bytes | None = None
    """Least bytes that wait to be written to the client."""
    limit: Annotated[int, Meta(ge=1, le=MAX_ROWS)] = 50
    cursor: CursorText | None = None
    """`next` of the page before."""


class PageOf(Question, frozen=True, kw_only=True):
    """Asks for a page of connections: those behind the `cursor`, a hub and a connection id."""

    query: ConnectionsQuery
    cursor: tuple[str, str] = ("", "")


class Rows(msgspec.Struct, frozen=True, kw_only=True):
    """Base of rows and answers."""


class ConnectionRow(Rows, frozen=True, kw_only=True):
    """One client."""

    id: str
    hub: str
    user: str | None
    node: str
    address: str
    """Empty if it is unknown."""
    transport: str
    app_server: str
    age: float
    queued_bytes: int
    namespaces: list[str]
    messages_in: int = 0
    """Engine.IO packets from the client so far."""
    messages_out: int = 0


class NodeConnections(Rows, frozen=True, kw_only=True):
    """One node's part of a page."""

    connections: list[ConnectionRow]
    places: list[tuple[str, str]]
    """The hub of each row, in lower case, and its id: all that is needed to put pages together."""
    following: tuple[str, str] | None
    """Hub and connection id behind which the node may have more; None at the end."""
    limited: bool = False
    """True if the node stopped because it had looked at many connections."""


class BusiestQuery(Question, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which connections to list, and in which order."""

    hub: Name | None = None
    sort: Literal["messages", "in", "out", "queued"] = "messages"
    """By messages per second in both directions, from or to the client, or by queued bytes."""
    limit: Annotated[int, Meta(ge=1, le=MAX_ROWS)] = 50


class BusyRow(ConnectionRow, frozen=True, kw_only=True):
    """One client, and its messages per second since the question before this one was answered. If that was
    more than a minute ago: since the connection began."""

    rate_in: float
    rate_out: float


class NodeBusiest(Rows, frozen=True, kw_only=True):
    """One node's busiest connections, the busiest first."""

    connections: list[BusyRow]
    limited: bool = False
    """True if the node stopped because it had looked at many connections."""


class ConnectionQuery(Question, frozen=True, kw_only=True):
    """Names one connection."""

    id: Id


class SocketRow(Rows, frozen=True, kw_only=True):
    """A connection's presence in one namespace."""

    namespace: str
    id: str
    rooms: list[str]
    """The first hundred, by name; without the private room."""
    rooms_total: int


class ConnectionFull(ConnectionRow, frozen=True, kw_only=True):
    """One client in full."""

    sockets: list[SocketRow]
    other_groups: list[str]
    """Groups that are no room of a namespace, as REST callers and tokens may name them; the first hundred."""
    path: str
    """Path of its first request."""
    query: dict[str, list[str]]
    """Secrets are masked."""
    headers: dict[str, list[str]]
    """Secrets are masked."""
    reading: bool
    """False while the service does not read from it, because its app server is behind."""
    moving: bool
    """True while it moves to another app server."""


class HubRow(Rows, frozen=True, kw_only=True):
    """One hub, the figures of all nodes added up."""

    name: str
    connections: int = 0
    sockets: int = 0
    rooms: int = 0
    """Rooms with members. One with members on several nodes counts once for each."""
    app_servers: int = 0
    """One that covers several nodes counts once for each."""
    parked: int = 0
    """Sockets whose client is away and may come back."""
    messages_in: int | None = 0
    """From clients, since the nodes started. Null if a node has counted too many other hubs."""
    messages_out: int | None = 0


class NodeHubs(Rows, frozen=True, kw_only=True):
    """One node's hubs."""

    hubs: list[HubRow]


class NodeLoad(Rows, frozen=True, kw_only=True):
    """The load of one node."""

    cpu: float = 0.0
    """CPU cores in use."""
    memory: int = 0
    loop_lag: float = 0.0
    """Largest delay of the event loop in the last seconds."""
    queued_bytes: int = 0
    uptime: float = 0.0
    sockets: int = 0
    rooms: int = 0
    """Rooms with members at this node. The private rooms of sockets do not count."""
    messages_in: int = 0
    """From clients, since the start."""
    messages_out: int = 0


class RoomsQuery(Question, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which rooms to list. A socket's private room is never listed."""

    hub: Name | None = None
    namespace: Text | None = None
    prefix: Text | None = None
    """Beginning of the room's name."""
    limit: Annotated[int, Meta(ge=1, le=MAX_ROWS)] = 50


class RoomsOf(Question, frozen=True, kw_only=True):
    """Asks for a node's largest rooms: `more` than the `limit` of the query, because the largest rooms of all
    nodes need not be the largest of one."""

    query: RoomsQuery
    more: Count = 0


class RoomRow(Rows, frozen=True, kw_only=True):
    """One room, and how many connections are in it."""

    hub: str
    namespace: str
    room: str
    members: int


class NodeRooms(Rows, frozen=True, kw_only=True):
    """One node's largest rooms, the largest first."""

    rooms: list[RoomRow]
    total: int
    """Number of rooms that match."""
    limited: bool = False
    """True if the node stopped because it had looked at many rooms."""


class RoomCounts(Question, frozen=True, kw_only=True):
    """Asks how many members of these rooms a node has."""

    rooms: list[tuple[str, str, str]]
    """Hub, namespace and room."""


class NodeCounts(Rows, frozen=True, kw_only=True):
    """One node's numbers of members, in the order of the question."""

    members: list[int]


class AppsQuery(Question, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which app servers to list."""

    hub: Name | None = None


class AppRow(Rows, frozen=True, kw_only=True):
    """One app server at one node. One that covers several nodes has a row for each."""

    hub: str
    id: str
    instance: str
    dialect: str
    sdk: str
    """Name and version of its SDK; empty for Azure's."""
    node: str
    address: str
    clients: int
    """Its clients at this node, and those of other nodes that it serves through this one."""
    up: bool
    """False while it has no link here and may still come back."""
    draining: bool
    behind: bool
    """True if it takes its clients' events too slowly; others get new clients first."""
    emit_only: bool
    home: bool
    """True at the node that forwards its commands."""
    recovery: float
    """Seconds that its clients may be away and be recovered; 0 for never."""
    age: float


class NodeApps(Rows, frozen=True, kw_only=True):
    """One node's app servers."""

    apps: list[AppRow]


class DisconnectsQuery(Question, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which ends of connections to list."""

    hub: Name | None = None
    user: Text | None = None
    connection: Id | None = None
    reason: Name | None = None
    """Name of the reason, such as `slow-client`."""
    limit: Annotated[int, Meta(ge=1, le=500)] = 100


class DisconnectRow(Rows, frozen=True, kw_only=True):
    """The end of one connection, or the refusal of one."""

    time: float
    """Epoch seconds."""
    id: str
    """Empty if the client was refused: it never had an id."""
    opened: bool
    """False if the client was refused."""
    hub: str
    user: str | None
    node: str
    address: str
    reason: str
    number: int
    meaning: str
    """The reason in a few words."""
    who: str
    """Who ended it: `client`, `app`, `service` or `api`."""
    detail: str
    age: float
    queued_bytes: int
    app_server: str


class NodeDisconnects(Rows, frozen=True, kw_only=True):
    """One node's latest ends, the newest first."""

    disconnects: list[DisconnectRow]
    times: list[float]
    """The time of each."""


class Point(Rows, frozen=True, kw_only=True):
    """A node's figures at one time, or those of all nodes added up. Counts are those of the step that ends at
    `time` (epoch seconds)."""

    time: float
    connections: int
    connects: int
    disconnects: int
    messages_in: int
    messages_out: int
    bytes_in: int
    bytes_out: int
    cpu: float
    """CPU cores in use."""
    memory: int
    loop_lag: float
    """Largest delay of the event loop; of several nodes the largest."""
    queued_bytes: int


class NodeHistory(Rows, frozen=True, kw_only=True):
    """One node's figures, the oldest first."""

    points: list[Point]
    reasons: dict[str, int]
    """Disconnects by reason in this time."""
    refusals: dict[str, int]
    """Refused clients and links of app servers by reason in this time."""


class AuditQuery(Question, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many actions to list."""

    limit: Annotated[int, Meta(ge=1, le=1000)] = 100


class ActionRow(Rows, frozen=True, kw_only=True):
    """What an operator did."""

    time: float
    node: str
    role: str
    address: str
    action: str
    target: dict[str, Any]
    """The arguments; of an emit without its content."""
    outcome: str
    """"done", or the name of the reason of a refusal."""
    count: int = 1
    """How often it was asked for in a row by the same role and address, with the same outcome, within a
    minute of the first time. `time` is that of the last one."""


class NodeActions(Rows, frozen=True, kw_only=True):
    """The actions that one node has taken, the newest first."""

    actions: list[ActionRow]
