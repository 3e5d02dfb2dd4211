"""What a trace watches. Declarations only."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

Name = Annotated[str, Meta(max_length=1024)]


class Scope(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What to watch: exactly one of `connection`, `user`, `room`, `app_server` and `sample`."""

    hub: Name = ""
    """Only this hub; empty: all hubs."""
    connection: Name = ""
    user: Name | None = None
    room: Name | None = None
    """A room of `namespace`; an empty text is the whole namespace."""
    namespace: Name = "/"
    app_server: Name = ""
    """An app server's id."""
    sample: Annotated[float, Meta(ge=0, le=1)] = 0.0
    """This part of all connections."""
    payload: bool = False
    """Also show the beginning of each packet's data."""
