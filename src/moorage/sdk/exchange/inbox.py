"""Hands each frame of the service to the part that handles it. No I/O."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from moorage.sdk.clients.facts import chunks_of, facts_json
from moorage.sdk.clients.members import Members
from moorage.sdk.errors import MoorageError, RequestFailed
from moorage.sdk.exchange.dispatch import ClientDispatcher
from moorage.wire.moorage import v1
from moorage.wire.moorage.v1 import Packet

_log = logging.getLogger("moorage.sdk")

Tell = Callable[..., None]


class Inbox:
    """`FleetReceiver` of one app server. `tell(name, *arguments)` raises the events that `on` listens to."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._dispatcher: ClientDispatcher[Any]
        self._members: Callable[[], Members]
        self._routes: dict[type[Any], Callable[[Any], None]] = {}

    def serve(
        self,
        dispatcher: ClientDispatcher[Any],
        members: Callable[[], Members],
        *,
        told: Callable[[v1.Told], None],
        query: Callable[[v1.Query], None],
    ) -> None:
        """Accept frames from now on. `told` and `query` answer other app servers."""
        self._dispatcher = dispatcher
        self._members = members
        self._routes = {
            v1.Open: dispatcher.opened,
            v1.Closed: dispatcher.closed,
            v1.Left: dispatcher.left,
            v1.Upgraded: dispatcher.upgraded,
            v1.Moved: dispatcher.moved,
            v1.Recover: dispatcher.recover,
            v1.Parked: dispatcher.parked,
            v1.Back: dispatcher.back,
            v1.Freeze: dispatcher.freeze,
            v1.Adopt: dispatcher.adopt,
            v1.Released: dispatcher.released,
            v1.Resume: dispatcher.resume,
            v1.Trace: dispatcher.trace,
            v1.Query: query,
            v1.Told: told,
            v1.Failed: self._failed,
            v1.Drain: self._drain,
        }

    def received(self, frames: list[v1.FromService]) -> None:
        """One batch, in order. If a frame cannot be handled, that is logged and the next one is handled."""
        packet = self._dispatcher.packet
        for frame in frames:
            try:
                if type(frame) is Packet:
                    packet(frame.client, frame.payload)
                elif (route := self._routes.get(type(frame))) is not None:
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

    def clients_lost(self, slot: int, why: str) -> None:
        """The clients of one of several sessions are gone."""
        _log.warning("the clients at one node are lost: %s", why)
        self._dispatcher.all_gone(slot)

    def link_event(self, name: str, error: Exception | None) -> None:
        """The link was lost, came back, or failed for good."""
        arguments = () if error is None else (error,)
        self._tell(f"link_{name}", *arguments)

    def facts(self, frame: v1.Query) -> v1.Facts:
        """The answer to another app server that fetches sockets of this one."""
        return v1.Facts(
            frame.ref, tuple(chunks_of(self.facts_of(sid, frame.namespace) for sid in frame.sockets))
        )

    def facts_of(self, sid: str, namespace: str) -> bytes:
        """The data that other app servers may know about an own socket."""
        member = self._members().get(sid, namespace)
        return b"" if member is None else facts_json(member.client.session.get(namespace), member.auth)

    def _failed(self, frame: v1.Failed) -> None:
        """The service refused a frame that no caller waits for, usually an emit."""
        error = RequestFailed(frame.number, frame.reason, frame.message)
        _log.error("the service refused a request that no caller waits for: %s", error)
        self._tell("error", error)

    def _drain(self, frame: v1.Drain) -> None:
        _log.warning("service shuts down in %.0f s", frame.seconds)
        self._tell("draining", frame.seconds)
