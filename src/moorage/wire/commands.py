"""The commands: everything that REST, an app server's link or another node can ask of a node.

All of them decode to these values and hand them to `hub.node.Node.submit`. A *cast* sends something and has
no answer from other nodes. A *write* is answered once it is in effect everywhere. An *ask* gathers answers.

Their fields are plain data, so a command also travels between nodes (`wire.cluster.messages`). There a
command is an array that begins with its tag: a tag is never used again, and a new field goes to the end and
has a default.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Any, Final, SupportsBytes

import msgspec

from moorage.wire.filters.compiled import Filter


class Selection(msgspec.Struct, frozen=True, kw_only=True, gc=False, array_like=True):
    """Which connections of a hub a command is for. All given parts must hold; none given = all."""

    connection: str | None = None
    group: str | None = None
    user: str | None = None
    filter: Filter | None = None
    excluded: tuple[str, ...] = ()
    """Connection ids to leave out (`excluded` of the REST API)."""
    server: str | None = None
    """Only clients of the app server with this id."""
    within: str | None = None
    """Only those that are in this group, too."""


EVERYONE: Final = Selection()


class Send(msgspec.Struct, frozen=True, gc=False, array_like=True, tag=1):
    """Deliver an Engine.IO payload (one packet, or several joined by 0x1e) to all selected."""

    hub: str
    to: Selection
    payload: bytes
    volatile: bool = False
    """Leave out clients that cannot take it at once."""
    control: bool = False
    """The payload may hold more than events and acks. Only for clients of the sender itself."""
    source: str = ""
    """With `number` the identity of the emit, which is the same at all nodes: the instance of the app server,
    or the incarnation of the node that the emit came to. Empty while there are no other nodes."""
    number: int = 0
    """Grows with each emit of `source`."""


class SendToConnection(msgspec.Struct, frozen=True, gc=False, array_like=True, tag=2):
    """Deliver an Engine.IO payload to one connection. The azure dialect's most frequent command."""

    hub: str
    connection: str
    payload: bytes


class Invoke(msgspec.Struct, frozen=True, gc=False, array_like=True, tag=3):
    """Deliver an event without ack id to all selected, and collect one ack from each."""

    hub: str
    to: Selection
    payload: bytes
    timeout: float | None = None
    """Seconds to wait for the acks, at most the setting `links.invoke_timeout`; None = that setting."""
    volatile: bool = False
    """Ask only clients that can take it at once; the others count as missing."""


class JoinGroups(msgspec.Struct, frozen=True, gc=False, array_like=True, tag=4):
    """Put all selected into `groups`."""

    hub: str
    to: Selection
    groups: tuple[str, ...]
    quiet: bool = False
    """The command comes from the app server that owns the selected clients, so it is not notified."""


class LeaveGroups(msgspec.Struct, frozen=True, gc=False, array_like=True, tag=5):
    """Take all selected out of `groups`; None = out of all groups of each."""

    hub: str
    to: Selection
    groups: tuple[str, ...] | None
    quiet: bool = False
    """As in `JoinGroups`."""


class CloseConnections(msgspec.Struct, frozen=True, gc=False, array_like=True, tag=6):
    """Close all selected. `why` is the caller's text for the log."""

    hub: str
    to: Selection
    why: str = ""


class LeaveNamespace(msgspec.Struct, frozen=True, gc=False, array_like=True, tag=7):
    """Take all selected out of a namespace. `close` ends their connections as well."""

    hub: str
    to: Selection
    namespace: str
    close: bool = False


class FetchSockets(msgspec.Struct, frozen=True, gc=False, array_like=True, tag=8):
    """List the selected sockets of a namespace. The service's own rows are in the `Outcome`; each app
    server's data comes as an answer, except that of `asker`, which has its own already."""

    hub: str
    to: Selection
    namespace: str
    timeout: float
    now: int
    """Milliseconds since 1970."""
    asker: str = ""
    others: bool = False
    """Leave out the sockets of `asker`."""


class TellServers(msgspec.Struct, frozen=True, gc=False, array_like=True, tag=9):
    """Deliver a payload to all app servers of the hub except `sender`. With a `timeout` (seconds)
    each is asked for an answer."""

    hub: str
    namespace: str
    payload: bytes
    sender: str
    timeout: float = 0.0


class Exists(msgspec.Struct, frozen=True, gc=False, array_like=True, tag=10):
    """Ask whether any connection is selected."""

    hub: str
    to: Selection


class ListGroup(msgspec.Struct, frozen=True, gc=False, array_like=True, tag=11):
    """Ask for one page of a group's connections: ordered by connection id, those after `after`."""

    hub: str
    group: str
    limit: int
    after: str = ""


class ListServers(msgspec.Struct, frozen=True, gc=False, array_like=True, tag=12):
    """Ask for the hub's app servers."""

    hub: str


class Inspect(msgspec.Struct, frozen=True, gc=False, array_like=True, tag=13):
    """Ask nodes for what an operator wants to see. `what` names a question of `wire.inspect.forms`, whose
    arguments are the JSON text `arguments`. Each asked node gives one `Report`."""

    hub: str
    """Empty: the question is about a node."""
    what: str
    arguments: bytes = b"{}"
    node: str = ""
    """Incarnation of the only node that is asked; empty for all nodes."""
    timeout: float = 1.0
    """Seconds to wait for other nodes."""


class DrainNode(msgspec.Struct, frozen=True, gc=False, array_like=True, tag=14):
    """Make a node drain and end, as a signal would."""

    hub: str
    """Empty."""
    node: str
    """Its incarnation."""


Cast = Send | SendToConnection
Write = JoinGroups | LeaveGroups | LeaveNamespace | CloseConnections | DrainNode
Ask = Invoke | FetchSockets | TellServers | Exists | ListGroup | ListServers | Inspect
Command = Cast | Write | Ask


class Member(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A connection in the answer to `ListGroup`."""

    connection_id: str
    user_id: str | None


class Server(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """An app server in the answer to `ListServers`."""

    id: str
    dialect: str
    up: bool
    clients: int


class Report(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """One node's answer to `Inspect`: JSON text."""

    node: str
    """Its incarnation."""
    body: bytes


class Found(msgspec.Struct, gc=False):
    """One socket that `FetchSockets` found. The hub keeps it until the groups of the connection change."""

    namespace: str
    id: str
    connection: str
    user: str | None
    opened: int
    """Milliseconds since 1970."""
    rooms: tuple[str, ...]
    """All but the private room."""
    handshake: SupportsBytes
    """JSON. A link dialect may put a smaller form in its place, with the same `bytes`."""
    groups: int = 0
    """Groups of the connection, all namespaces together."""
    packed: bytes | None = None
    """The socket as a link dialect sends it, for the dialect's own use."""
    shared: Any = None
    """What `packed` refers to, likewise."""


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """What a command did, or found."""

    found: bool = True
    """False if the command named a connection, group or user that does not exist."""
    reached: int = 0
    """Number of connections that the command acted on."""
    members: tuple[Member, ...] = ()
    """The page of `ListGroup`."""
    more: bool = False
    """True if the group has connections after this page."""
    sockets: Mapping[str, Iterable[list[Found]]] = {}
    """The sockets of `FetchSockets` by app server id. There may be a hundred thousand, so they are made a
    few at a time, while the caller iterates."""
    rooms: int = 0
    """Number of rooms of all these sockets."""
    asked: int = 0
    """How many answers will come: of connections for `Invoke`, else of app servers."""
    servers: tuple[Server, ...] = ()
    """The answer to `ListServers`."""
    missing: tuple[str, ...] = ()
    """Nodes that gave no answer."""
    reports: tuple[Report, ...] = ()
    """The answers to `Inspect`."""


DONE: Final = Outcome()
NOT_FOUND: Final = Outcome(found=False)


def merged(outcomes: Iterable[Outcome], limit: int = 0) -> Outcome:
    """One outcome for what several nodes did. `limit` is that of `ListGroup`: the merged page holds no
    more members than that. An app server with clients on several nodes becomes one row."""
    parts = tuple(outcomes)
    members = sorted(chain.from_iterable(part.members for part in parts), key=lambda row: row.connection_id)
    sockets: dict[str, list[Iterable[list[Found]]]] = {}
    servers: dict[str, Server] = {}
    for part in parts:
        for name, rows in part.sockets.items():
            sockets.setdefault(name, []).append(rows)
        for row in part.servers:
            known = servers.get(row.id)
            up, clients = (known.up, known.clients) if known is not None else (False, 0)
            servers[row.id] = Server(row.id, row.dialect, up or row.up, clients + row.clients)
    return Outcome(
        found=any(part.found for part in parts),
        reached=len(members[:limit]) if limit else sum(part.reached for part in parts),
        members=tuple(members[:limit]),
        more=len(members) > limit or any(part.more for part in parts),
        sockets={name: chain.from_iterable(rows) for name, rows in sockets.items()},
        rooms=sum(part.rooms for part in parts),
        asked=sum(part.asked for part in parts),
        servers=tuple(servers.values()),
        missing=tuple(dict.fromkeys(chain.from_iterable(part.missing for part in parts))),
        reports=tuple(chain.from_iterable(part.reports for part in parts)),
    )
