"""What the link's thread does with what the service sends: order it, and hand it to other threads.

No code of the application runs here. A handler that blocks would block every client.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any, Final, Protocol

from moorage.sdk.environ import environ_of
from moorage.sdk.payload import RS
from moorage.sdk.threads_engine import Client, Engine
from moorage.sdk.threads_link import ThreadedLink
from moorage.sdk.threads_manager import ThreadsManager
from moorage.wire.tunnel import Closed, Drain, Failed, FromService, Left, Moved, Open, Packet, Query, Told

MOST_PENDING: Final = 2 * 1024 * 1024
"""Bytes of packets that wait for a thread, from which on the service is let wait, too."""
RELIEF_SECONDS: Final = 0.02
"""How often is looked whether that is over."""

_EVENT: Final = b"42"
_ACK: Final = b"43"

_log = logging.getLogger("moorage.sdk")


class Application(Protocol):
    """What frames that are for nobody's client go to. Called on the link's thread."""

    def queried(self, frame: Query) -> None:
        """Another app server asks for sockets' data."""

    def told(self, frame: Told) -> None:
        """Another app server has sent an event."""

    def link_event(self, name: str, error: Exception | None) -> None:
        """`lost`, `restored`, `failed`."""


class ThreadsReceiver:
    """A link's `Receiver`, for one server."""

    def __init__(
        self,
        sio: Any,
        engine: Engine,
        manager: ThreadsManager,
        application: Application,
        extra: dict[str, Any],
    ) -> None:
        self._sio = sio
        self._engine = engine
        self._manager = manager
        self._application = application
        self._extra = {"wsgi.multithread": True, "wsgi.multiprocess": True, "wsgi.async": False, **extra}
        self._link: ThreadedLink | None = None
        self._held = False
        self._actions: dict[type, Callable[[Any], None]] = {
            Packet: self._packet,
            Open: self._open,
            Closed: self._closed,
            Left: self._left,
            Moved: self._moved,
            Query: application.queried,
            Told: application.told,
            Failed: self._failed,
            Drain: self._drain,
        }

    def serve(self, link: ThreadedLink) -> None:
        """Say whose receiver this is, before anything comes."""
        self._link = link

    # -- Receiver ------------------------------------------------------------------------------------

    def received(self, frames: list[FromService]) -> None:
        """One batch's frames, in order."""
        for frame in frames:
            action = self._actions.get(type(frame))
            if action is not None:
                action(frame)
        if self._engine.pending >= MOST_PENDING and not self._held:
            self._hold()

    def session_lost(self, why: str) -> None:
        """Every client is gone: the `disconnect` handlers run."""
        _log.warning("All clients are gone: %s", why)
        self._engine.all_closed()

    def link_event(self, name: str, error: Exception | None) -> None:
        """Passed on, and remembered if it is the end."""
        if name == "failed" and self._link is not None:
            self._link.failure = error
            self._engine.all_closed()
        self._application.link_event(name, error)

    def _hold(self) -> None:
        assert self._link is not None
        self._held = self._engine.pending >= MOST_PENDING // 2
        self._link.link.hold(self._held)
        if self._held:
            self._link.loop.call_later(RELIEF_SECONDS, self._hold)

    # -- frames --------------------------------------------------------------------------------------

    def _open(self, frame: Open) -> None:
        self._engine.open(
            Client(self._engine, frame.client, frame.id, lambda: environ_of(frame) | self._extra)
        )

    def _packet(self, frame: Packet) -> None:
        payload = bytes(frame.payload)
        at_once = False
        if RS not in payload:
            if payload.startswith(_EVENT):
                # python-socketio only starts the handler: in a thread, if handlers are to have one.
                client = self._engine.client(frame.client)
                at_once = self._sio.async_handlers and client is not None and client.lane.idle
            else:
                at_once = payload.startswith(_ACK)
        self._engine.receive(frame.client, payload, at_once=at_once)

    def _closed(self, frame: Closed) -> None:
        self._engine.closed(frame.client, frame.cause)

    def _left(self, frame: Left) -> None:
        client = self._engine.client(frame.client)
        if client is not None:
            client.lane.add(partial(self._tell_left, client, frame.namespace))

    def _tell_left(self, client: Client, namespace: str) -> None:
        with self._engine.telling_end(client):
            self._sio._handle_disconnect(client.sid, namespace, self._sio.reason.SERVER_DISCONNECT)

    def _moved(self, frame: Moved) -> None:
        client = self._engine.client(frame.client)
        if client is not None:
            self._manager.moved(client, frame.namespace, joined=frame.joined, rooms=frame.rooms)

    def _failed(self, frame: Failed) -> None:
        _log.error("The service refused what was sent: %s %s: %s", frame.number, frame.reason, frame.message)

    def _drain(self, frame: Drain) -> None:
        _log.info("The service will go in %s s", frame.seconds)
