"""The frames of the service, each to the part that it is for."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from moorage.sdk.aio.dispatch import Dispatcher
from moorage.sdk.aio.link import Link
from moorage.sdk.aio.server_events import ServerEvents
from moorage.sdk.errors import MoorageError, RequestFailed
from moorage.sdk.facts import chunks_of, facts_json
from moorage.sdk.members import Members
from moorage.wire.moorage.v1 import (
    Closed,
    Drain,
    Facts,
    Failed,
    FromService,
    Left,
    Moved,
    Open,
    Packet,
    Query,
    Told,
    Upgraded,
)

_log = logging.getLogger("moorage.sdk")

Tell = Callable[..., None]


class Inbox:
    """`link.Receiver` of an asynchronous `socketio` server. `tell(name, *arguments)` raises the events
    of the `Moorage` object."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._routes: dict[type[Any], Callable[[Any], None]] = {}
        self._dispatcher: Dispatcher

    def serve(self, link: Link, dispatcher: Dispatcher, members: Members, told: ServerEvents) -> None:
        """From here on frames may come."""
        self._link = link
        self._members = members
        self._dispatcher = dispatcher
        self._routes = {
            Open: dispatcher.opened,
            Closed: dispatcher.closed,
            Left: dispatcher.left,
            Upgraded: dispatcher.upgraded,
            Moved: dispatcher.moved,
            Query: self._query,
            Told: told.told,
            Failed: self._failed,
            Drain: self._drain,
        }

    def received(self, frames: list[FromService]) -> None:
        """One batch, in order. A frame that cannot be handled is logged, and the next one is."""
        packet = self._dispatcher.packet
        for frame in frames:
            try:
                if type(frame) is Packet:
                    packet(frame.client, frame.payload)
                else:
                    route = self._routes.get(type(frame))
                    if route is not None:
                        route(frame)
            except MoorageError as error:
                _log.error("a %s frame could not be answered: %s", type(frame).__name__, error)
            except Exception:
                _log.exception("a %s frame could not be handled", type(frame).__name__)

    def session_lost(self, why: str) -> None:
        """All clients are gone."""
        _log.warning("all clients are lost: %s", why)
        self._dispatcher.all_gone()
        self._tell("session_lost", why)

    def link_event(self, name: str, error: Exception | None) -> None:
        """What happens to the link."""
        if error is None:
            self._tell(f"link_{name}")
        else:
            self._tell(f"link_{name}", error)

    def _query(self, frame: Query) -> None:
        """Another app server fetches sockets; these are ours."""
        facts = (self._facts_of(sid, frame.namespace) for sid in frame.sockets)
        self._link.send(Facts(frame.ref, tuple(chunks_of(facts))))

    def _facts_of(self, sid: str, namespace: str) -> bytes:
        member = self._members.get(sid, namespace)
        return b"" if member is None else facts_json(member.client.session.get(namespace), member.auth)

    def _failed(self, frame: Failed) -> None:
        """Something that nobody waits for, an emit as a rule."""
        error = RequestFailed(frame.number, frame.reason, frame.message)
        _log.error("the service did not do what was asked: %s", error)
        self._tell("error", error)

    def _drain(self, frame: Drain) -> None:
        _log.warning("the service goes in %.0f s", frame.seconds)
        self._tell("draining", frame.seconds)
