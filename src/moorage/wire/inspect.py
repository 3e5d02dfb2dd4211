"""What operators ask about nodes, and the answers: the forms of `commands.Inspect` and the Admin API's JSON.

A question holds the arguments of one operation of the Admin API. Every asked node answers with its own rows,
and the node that asked puts them together. Times and ages are in seconds, sizes in bytes. A new field has a
default, so nodes of two versions understand each other.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import Meta

CONNECTIONS: Final = "connections"
CONNECTION: Final = "connection"
HUBS: Final = "hubs"
NODE: Final = "node"

Name = Annotated[str, Meta(min_length=1, max_length=128)]
Text = Annotated[str, Meta(min_length=1, max_length=1024)]
Id = Annotated[str, Meta(min_length=1, max_length=256)]
Seconds = Annotated[float, Meta(ge=0, le=1e12)]
Bytes = Annotated[int, Meta(ge=0, le=2**53)]
Count = Annotated[int, Meta(ge=0)]
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
    cursor: Annotated[str, Meta(min_length=1, max_length=1024)] | None = None
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


class NodeConnections(Rows, frozen=True, kw_only=True):
    """One node's part of a page."""

    connections: list[ConnectionRow]
    following: tuple[str, str] | None
    """Hub and connection id behind which the node may have more; None at the end."""
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
    parked: int = 0
    """Sockets whose client is away and may come back."""


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
    messages_in: int = 0
    """From clients, since the start."""
    messages_out: int = 0
