"""The bodies of the actions, and the commands that they become."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from moorage.wire.commands import CloseConnections, Selection
from moorage.wire.errors import PeerError
from moorage.wire.groups import room_group
from moorage.wire.inspect import Id, Name, Text
from moorage.wire.reasons import API_BAD_BODY


class Target(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whom an action is for: exactly one of `connection`, `user` and `room`."""

    hub: Name
    namespace: Annotated[str, Meta(min_length=1, max_length=512)] = "/"
    connection: Id | None = None
    user: Text | None = None
    room: Text | None = None

    @property
    def selection(self) -> Selection:
        """The connections. Raises `PeerError` (api-bad-body) unless there is one condition."""
        given = [name for name in ("connection", "user", "room") if getattr(self, name) is not None]
        if len(given) != 1:
            raise PeerError(API_BAD_BODY, "expected exactly one of connection, user and room")
        if self.room is not None:
            return Selection(group=room_group(self.namespace, self.room))
        return Selection(connection=self.connection, user=self.user)


class DisconnectBody(Target, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Closes the connections. `namespace` only says where `room` is."""

    reason: Annotated[str, Meta(max_length=256)] = ""
    """For the log."""

    @property
    def command(self) -> CloseConnections:
        """The command."""
        return CloseConnections(self.hub, self.selection, self.reason)


def shown(body: Any) -> dict[str, Any]:
    """The body as the audit log shows it: without empty fields."""
    found: dict[str, Any] = msgspec.to_builtins(body)
    return {name: value for name, value in found.items() if value not in (None, "", [])}
