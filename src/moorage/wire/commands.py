"""The commands: everything that REST, an app server's link or another node can ask of a node.

All of them decode to these values. Their fields are plain data, so a command also travels between nodes
(`wire.cluster`). There a command is an array that begins with its tag: a tag is never used again, and a new
field goes to the end and has a default.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from moorage.wire.filters.compiled import Filter
from moorage.wire.moorage.listing import Listed


class Selection(msgspec.Struct, frozen=True, kw_only=True, gc=False, array_like=True):
    """Which connections of a hub a command means. All given parts must hold; none given = all."""

    connection: str | None = None
    group: str | None = None
    user: str | None = None
    filter: Filter | None = None
    excluded: tuple[str, ...] = ()
    """Connection ids to leave out (`excluded` of the REST API)."""
    server: str | None = None
    """Only clients of this app server."""


EVERYONE: Final = Selection()


class Send(msgspec.Struct, frozen=True, gc=False, array_like=True, tag=1):
    """Deliver an Engine.IO payload (one packet or several joined by 0x1e) to all selected."""

    hub: str
    to: Selection
    payload: bytes
    volatile: bool = False
    """Leave out who cannot take it at once."""
    control: bool = False
    """The payload may hold more than events and acks. Only for clients of the sender itself."""


class SendToConnection(msgspec.Struct, frozen=True, gc=False, array_like=True, tag=2):
    """The same to one connection: the hot command of the azure dialect, hence its own value."""

    hub: str
    connection: str
    payload: bytes


class Invoke(msgspec.Struct, frozen=True, gc=False, array_like=True, tag=3):
    """Deliver an event without ack id to all selected, collect one ack from each."""

    hub: str
    to: Selection
    payload: bytes
    timeout: float | None = None
    """Seconds to wait for the acks; None and anything longer: the setting `links.invoke_timeout`."""
    volatile: bool = False
    """Ask those only who can take it at once; the others are missing."""


class JoinGroups(msgspec.Struct, frozen=True, gc=False, array_like=True, tag=4):
    """Put all selected into `groups`. In effect when `execute` returns."""

    hub: str
    to: Selection
    groups: tuple[str, ...]
    quiet: bool = False
    """The app server of the selected asks itself: it needs no news of it."""


class LeaveGroups(msgspec.Struct, frozen=True, gc=False, array_like=True, tag=5):
    """Take all selected out of `groups`; `None` = out of all of theirs."""

    hub: str
    to: Selection
    groups: tuple[str, ...] | None
    quiet: bool = False
    """As of `JoinGroups`."""


class CloseConnections(msgspec.Struct, frozen=True, gc=False, array_like=True, tag=6):
    """Close all selected; `why` is the caller's text for logs."""

    hub: str
    to: Selection
    why: str = ""


class LeaveNamespace(msgspec.Struct, frozen=True, gc=False, array_like=True, tag=7):
    """Take all selected out of a namespace; `close` ends their connections as well."""

    hub: str
    to: Selection
    namespace: str
    close: bool = False


class FetchSockets(msgspec.Struct, frozen=True, gc=False, array_like=True, tag=8):
    """Who is selected in a namespace, and what their app servers know of them. The rows are in the
    `Outcome`; the app servers' answers come one by one, but for that of `asker`."""

    hub: str
    to: Selection
    namespace: str
    timeout: float
    now: int
    """Milliseconds since 1970."""
    asker: str = ""
    others: bool = False
    """Leave out the sockets that the asker serves itself."""


class TellServers(msgspec.Struct, frozen=True, gc=False, array_like=True, tag=9):
    """Bring a payload to all app servers of the hub but `sender`. With a `timeout` (seconds) each
    is asked for an answer."""

    hub: str
    namespace: str
    payload: bytes
    sender: str
    timeout: float = 0.0


class Exists(msgspec.Struct, frozen=True, gc=False, array_like=True, tag=10):
    """Is anyone selected?"""

    hub: str
    to: Selection


class ListGroup(msgspec.Struct, frozen=True, gc=False, array_like=True, tag=11):
    """One page of a group's connections, ordered by connection id, after `after`."""

    hub: str
    group: str
    limit: int
    after: str = ""


Command = (
    Send
    | SendToConnection
    | Invoke
    | JoinGroups
    | LeaveGroups
    | LeaveNamespace
    | CloseConnections
    | FetchSockets
    | TellServers
    | Exists
    | ListGroup
)


class Member(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A row of `ListGroup`'s answer."""

    connection_id: str
    user_id: str | None


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """What `execute` answers.

    `found` is false where the command named a connection, group or user that is not there;
    `reached` counts the connections acted upon; `members` and `more` are `ListGroup`'s page. `sockets`
    are the rows of `FetchSockets` by the id of the app server that serves them, packed as links carry
    them. They are made a few at a time as they are asked for, since there may be a
    hundred thousand; `rooms` counts the rooms in them. `asked` counts who will answer: connections of
    an `Invoke`, app servers else.
    """

    found: bool = True
    reached: int = 0
    members: tuple[Member, ...] = ()
    more: bool = False
    sockets: Mapping[str, Iterable[list[Listed]]] = {}
    rooms: int = 0
    asked: int = 0


DONE: Final = Outcome()
NOT_FOUND: Final = Outcome(found=False)
