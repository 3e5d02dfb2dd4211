"""Arguments of emits and requests as frames have them. No I/O."""

from __future__ import annotations

import secrets
from typing import Any, Final

from moorage.sdk.clients.members import room_names
from moorage.wire.errors import UsageError
from moorage.wire.moorage.v1 import To

_NOBODY: Final = secrets.token_urlsafe()
"""A room without members, which stands for an empty collection of rooms."""


def arguments_of(data: Any) -> list[Any]:
    """The arguments in the `data` of an emit, as python-socketio reads it: a tuple is several arguments."""
    if isinstance(data, tuple):
        return list(data)
    return [] if data is None else [data]


def target(namespace: str, rooms: Any, excluded: Any) -> To:
    """The recipients of an emit: None is everybody, an empty collection nobody. Raises `UsageError`."""
    if not isinstance(namespace, str):
        # It would make a frame that the service cannot read, and so end the session.
        raise UsageError(f"a namespace must be a str, not {type(namespace).__name__}")
    names = room_names(rooms) if rooms is None or rooms else (_NOBODY,)
    return To(namespace, names, room_names(excluded or None))


def milliseconds(seconds: float) -> int:
    """A timeout as frames carry it. Raises `UsageError` if it is not a time to wait."""
    if not 0 < seconds < 86_400:
        raise UsageError(f"timeout must be above 0 and below a day, in seconds, not {seconds!r}")
    return max(1, int(seconds * 1000))
