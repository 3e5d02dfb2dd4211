"""Reads the query of a request for a trace."""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from moorage.wire.errors import PeerError
from moorage.wire.inspect.forms import Id, Name, Question, Text
from moorage.wire.reasons import API_BAD_ARGUMENT
from moorage.wire.trace.scope import Scope

KINDS: Final = ("connection", "user", "room", "app_server", "sample")


class TraceQuery(Question, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Exactly one of `connection`, `user`, `room`, `app_server` and `sample`."""

    hub: Name | None = None
    """Only in this hub."""
    connection: Id | None = None
    user: Text | None = None
    room: Annotated[str, Meta(max_length=1024)] | None = None
    """A room of `namespace`; empty for the namespace itself."""
    namespace: Annotated[str, Meta(max_length=512, pattern=r"^/")] = "/"
    app_server: Text | None = None
    """An app server's id."""
    sample: Annotated[float, Meta(gt=0, le=1)] | None = None
    """This part of all connections."""
    payload: bool = False
    """Also the beginning of each packet's data."""

    @property
    def shown(self) -> dict[str, Any]:
        """The query as the audit log shows it: without empty fields."""
        found: dict[str, Any] = msgspec.to_builtins(self)
        return {name: value for name, value in found.items() if value}

    @property
    def scope(self) -> Scope:
        """What to watch. Raises `PeerError` (api-bad-argument) unless one kind is given."""
        if sum(getattr(self, name) is not None for name in KINDS) != 1:
            raise PeerError(API_BAD_ARGUMENT, f"expected exactly one of {', '.join(KINDS)}")
        return Scope(
            hub=self.hub or "",
            connection=self.connection or "",
            user=self.user,
            room=self.room,
            namespace=self.namespace,
            app_server=self.app_server or "",
            sample=self.sample or 0.0,
            payload=self.payload,
        )
