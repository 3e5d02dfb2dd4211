"""The bodies of the actions, and the commands that they become."""

from __future__ import annotations

from typing import Annotated, Any, Final, Protocol

import msgspec
from msgspec import UNSET, Meta, UnsetType
from msgspec.structs import replace

from moorage.wire.azure.dataplane import HUB_NAME
from moorage.wire.azure.payload import check_payload
from moorage.wire.commands import (
    CloseConnections,
    Command,
    JoinGroups,
    LeaveGroups,
    Selection,
    Send,
)
from moorage.wire.errors import PeerError
from moorage.wire.filters.compiled import Filter
from moorage.wire.groups import namespace_group, room_group
from moorage.wire.inspect.forms import Id, Text
from moorage.wire.reasons import API_BAD_BODY

MAX_ROOMS: Final = 100
ONE_OF: Final = ("connection", "user", "room")
"""Exactly one of these fields of a `Target` is given."""
Hub = Annotated[str, Meta(pattern=f"^{HUB_NAME.pattern}$")]
Namespace = Annotated[str, Meta(max_length=512, pattern=r"^/[^,?\x00-\x1f\x7f]*$")]
"""Text that can stand in a packet's header."""
RoomNames = Annotated[list[Text], Meta(max_length=MAX_ROOMS)]


class Body(Protocol):
    """The body of an action."""

    @property
    def hub(self) -> str:
        """The hub's name."""

    @property
    def command(self) -> Command:
        """The command. Raises `PeerError` (api-bad-body)."""

    @property
    def shown(self) -> dict[str, Any]:
        """The body as the audit log shows it."""


class Scope(msgspec.Struct, frozen=True, kw_only=True):
    """The fields that all bodies have."""

    hub: Hub
    namespace: Namespace = "/"

    @property
    def shown(self) -> dict[str, Any]:
        """As in `Body`, without empty fields."""
        found: dict[str, Any] = msgspec.to_builtins(self)
        return {name: value for name, value in found.items() if value not in (None, "", [])}

    def groups(self, rooms: list[str]) -> tuple[str, ...]:
        """The groups of rooms in the namespace."""
        return tuple(dict.fromkeys(room_group(self.namespace, room) for room in rooms))


class Target(Scope, frozen=True, kw_only=True):
    """Whom an action is for: exactly one of `connection`, `user` and `room`."""

    connection: Id | UnsetType = UNSET
    user: Text | UnsetType = UNSET
    room: Text | UnsetType = UNSET

    @property
    def selection(self) -> Selection:
        """The connections. Raises `PeerError` (api-bad-body) unless there is one condition."""
        if sum(getattr(self, name) is not UNSET for name in ONE_OF) != 1:
            raise PeerError(API_BAD_BODY, f"expected exactly one of {', '.join(ONE_OF)}")
        if self.room:
            return Selection(group=self.groups([self.room])[0])
        return Selection(connection=self.connection or None, user=self.user or None)


class DisconnectBody(Target, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Closes the connections. `namespace` only says where `room` is."""

    reason: Annotated[str, Meta(max_length=256)] = ""
    """For the log."""

    @property
    def command(self) -> CloseConnections:
        """As in `Body`."""
        return CloseConnections(self.hub, self.selection, self.reason)


class JoinBody(Target, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Puts the sockets into rooms."""

    rooms: Annotated[list[Text], Meta(min_length=1, max_length=MAX_ROOMS)]

    @property
    def command(self) -> JoinGroups:
        """As in `Body`."""
        return JoinGroups(self.hub, self.selection, self.groups(self.rooms))


class LeaveBody(Target, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Takes the sockets out of rooms."""

    rooms: Annotated[list[Text], Meta(min_length=1, max_length=MAX_ROOMS)]

    @property
    def command(self) -> LeaveGroups:
        """As in `Body`."""
        return LeaveGroups(self.hub, self.selection, self.groups(self.rooms))


class EmitBody(Scope, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Sends an event to the sockets of a namespace: to all, or to those in one of `rooms`; without those in
    one of `except`; only to one connection, or to those of one user."""

    event: Annotated[str, Meta(min_length=1, max_length=1024)]
    args: Annotated[list[Any], Meta(max_length=100)] = []
    rooms: RoomNames = []
    except_rooms: RoomNames = msgspec.field(default_factory=list, name="except")
    connection: Id | UnsetType = UNSET
    user: Text | UnsetType = UNSET

    @property
    def command(self) -> Send:
        """As in `Body`. Raises also api-bad-payload."""
        any_of, none_of = self.groups(self.rooms), self.groups(self.except_rooms)
        whole = namespace_group(self.namespace)
        condition = Filter(any_of or None, none_of) if any_of or none_of else None
        # A room's group names its namespace, so the namespace's own group is needed only without one.
        to = Selection(
            connection=self.connection or None,
            group=None if any_of else whole,
            user=self.user or None,
            filter=condition,
        )
        at = "" if self.namespace == "/" else f"{self.namespace},"
        try:
            payload = b"42" + at.encode() + msgspec.json.encode([self.event, *self.args])
        except RecursionError:
            # Less of the stack is left here than where the body was read.
            raise PeerError(API_BAD_BODY, "the arguments are nested too deeply") from None
        check_payload(payload)
        return Send(self.hub, to, payload)

    @property
    def shown(self) -> dict[str, Any]:
        """Without the content, which may be private."""
        return super(EmitBody, replace(self, args=[])).shown
