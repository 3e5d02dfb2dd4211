"""The one vocabulary of what can be asked of a node.

REST, the links and (later) the cluster decode to these values and hand them to
`hub.node.Node.execute`; nothing else changes who hears what.
"""

from __future__ import annotations

from typing import Final

import msgspec

from moorage.wire.filters import Filter


class Selection(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Which connections of a hub a command means. All given parts must hold; none given = all."""

    connection: str | None = None
    group: str | None = None
    user: str | None = None
    filter: Filter | None = None
    excluded: tuple[str, ...] = ()
    """Connection ids to leave out (`excluded` of the REST API)."""


EVERYONE: Final = Selection()


class Send(msgspec.Struct, frozen=True, gc=False):
    """Deliver an Engine.IO payload (one packet or several joined by 0x1e) to all selected."""

    hub: str
    to: Selection
    payload: bytes


class SendToConnection(msgspec.Struct, frozen=True, gc=False):
    """The same to one connection: the hot command of the azure dialect, hence its own value."""

    hub: str
    connection: str
    payload: bytes


class Invoke(msgspec.Struct, frozen=True, gc=False):
    """Deliver an event without ack id to all selected, collect one ack from each."""

    hub: str
    to: Selection
    payload: bytes


class JoinGroups(msgspec.Struct, frozen=True, gc=False):
    """Put all selected into `groups`. In effect when `execute` returns."""

    hub: str
    to: Selection
    groups: tuple[str, ...]


class LeaveGroups(msgspec.Struct, frozen=True, gc=False):
    """Take all selected out of `groups`; `None` = out of all of theirs."""

    hub: str
    to: Selection
    groups: tuple[str, ...] | None


class CloseConnections(msgspec.Struct, frozen=True, gc=False):
    """Close all selected; `why` is the caller's text for logs."""

    hub: str
    to: Selection
    why: str = ""


class Exists(msgspec.Struct, frozen=True, gc=False):
    """Is anyone selected?"""

    hub: str
    to: Selection


class ListGroup(msgspec.Struct, frozen=True, gc=False):
    """One page of a group's connections, ordered by connection id, after `after`."""

    hub: str
    group: str
    limit: int
    after: str = ""


Command = (
    Send | SendToConnection | Invoke | JoinGroups | LeaveGroups | CloseConnections | Exists | ListGroup
)


class Member(msgspec.Struct, frozen=True, gc=False):
    """A row of `ListGroup`'s answer."""

    connection_id: str
    user_id: str | None


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """What `execute` answers.

    `found` is false where the command named a connection, group or user that is not there;
    `reached` counts the connections acted upon; `members` and `more` are `ListGroup`'s page.
    """

    found: bool = True
    reached: int = 0
    members: tuple[Member, ...] = ()
    more: bool = False


DONE: Final = Outcome()
NOT_FOUND: Final = Outcome(found=False)
