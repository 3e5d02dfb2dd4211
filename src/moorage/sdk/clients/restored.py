"""A socket of an earlier connection that goes on with another client. No I/O."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any, Final

import orjson

from moorage.sdk.clients.facts import kept_json

_log: Final = logging.getLogger("moorage.sdk")


class Restored:
    """What is known about the socket. Its rooms may change until its `connect` handler runs."""

    __slots__ = ("data", "rooms", "sid")

    def __init__(self, sid: str, rooms: Iterable[str], data: bytes) -> None:
        self.sid = sid
        self.rooms = dict.fromkeys(rooms)
        """Without the private room, in order."""
        self.data = data

    def moved(self, joined: bool, rooms: Iterable[str]) -> None:
        """Another app server, or the REST API, has changed its rooms."""
        for room in rooms:
            if joined:
                self.rooms[room] = None
            else:
                self.rooms.pop(room, None)

    def session(self) -> Any:
        """Its session, as python-socketio keeps it."""
        try:
            return orjson.loads(self.data) if self.data else {}
        except orjson.JSONDecodeError:
            return {}


def data_of(sid: str, session: Any) -> bytes:
    """What the service keeps of a socket's session. Values that JSON cannot express are left out, and
    reported in the log."""
    if not session:
        return b""
    data, left_out = kept_json(session, "session")
    for path, problem in left_out.items():
        _log.warning("the session of socket %s is kept without %s: %s", sid, path, problem)
    return data
