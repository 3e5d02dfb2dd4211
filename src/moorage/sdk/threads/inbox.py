"""The frames of the service, each to the part that it is for; and how many of them are too many."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from moorage.sdk.errors import MoorageError, RequestFailed
from moorage.sdk.facts import chunks_of, facts_json
from moorage.sdk.threads.dispatch import ThreadsDispatcher
from moorage.sdk.threads.link import ThreadedLink
from moorage.sdk.threads.manager import ThreadsManager
from moorage.sdk.threads.pool import Pool
from moorage.sdk.threads.server_events import ThreadsServerEvents
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

MOST_PENDING: Final = 16 * 1024 * 1024
"""Bytes of packets that wait for a thread. From here on the service is made to wait, too."""
RELIEF_SECONDS: Final = 0.02
"""How often is looked whether that is over."""
STUCK_LOOKS: Final = 5
"""So many times in a row no thread had begun anything: what they wait for may be behind that which we do
not take, an answer of the service or a client's ack."""
MOST_STUCK: Final = 64 * 1024 * 1024
"""Then more is taken, a window at a time, up to this."""

_log = logging.getLogger("moorage.sdk")

Tell = Callable[..., None]


class ThreadsInbox:
    """`link.Receiver` of a synchronous `socketio.Server`; all of it runs on the link's thread.
    `tell(name, *arguments)` raises the events of the `ThreadedMoorage` object."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._telling = Pool(1, "moorage-facts")
        """Not the handlers' threads: they may all be asking an app server that asks this one."""
        self._held = False
        self._looks = self._begun = 0
        self._link: ThreadedLink
        self._manager: ThreadsManager
        self._dispatcher: ThreadsDispatcher
        self._routes: dict[type[Any], Callable[[Any], None]] = {}

    def serve(
        self,
        link: ThreadedLink,
        dispatcher: ThreadsDispatcher,
        manager: ThreadsManager,
        server_events: ThreadsServerEvents,
    ) -> None:
        """From here on frames may come."""
        self._link = link
        self._manager = manager
        self._dispatcher = dispatcher
        self._routes = {
            Open: dispatcher.opened,
            Closed: dispatcher.closed,
            Left: dispatcher.left,
            Upgraded: dispatcher.upgraded,
            Moved: dispatcher.moved,
            Query: lambda frame: self._telling.submit(partial(self._answer, frame, link.session_id)),
            Told: server_events.told,
            Failed: self._failed,
            Drain: self._drain,
        }

    def stop(self) -> None:
        """Nothing is told any more."""
        self._telling.stop()

    def received(self, frames: list[FromService]) -> None:
        """One batch, in order. A frame that cannot be handled is logged, and the next one is."""
        for frame in frames:
            try:
                if type(frame) is Packet:
                    self._dispatcher.packet(frame.client, frame.payload)
                elif (route := self._routes.get(type(frame))) is not None:
                    route(frame)
            except MoorageError as error:
                _log.error("a %s frame could not be answered: %s", type(frame).__name__, error)
            except Exception:
                _log.exception("a %s frame could not be handled", type(frame).__name__)
        if self._dispatcher.pending > MOST_PENDING and not self._held:
            self._look_again()

    def session_lost(self, why: str) -> None:
        """All clients are gone."""
        _log.warning("all clients are lost: %s", why)
        self._dispatcher.all_gone()
        self._tell("session_lost", why)

    def link_event(self, name: str, error: Exception | None) -> None:
        """What happens to the link."""
        if error is None:
            self._tell(f"link_{name}")
            return
        if name == "failed":
            self._link.failure = error
        self._tell(f"link_{name}", error)

    def _look_again(self) -> None:
        """Hold while too much is pending. Asked by a timer: that handlers are done is seen in their own
        threads, and telling this one each time would cost more."""
        pending, begun, link = self._dispatcher.pending, self._dispatcher.begun, self._link.link
        self._looks = self._looks + 1 if begun == self._begun else 0
        self._begun = begun
        self._held = pending > MOST_PENDING // 2
        if not self._held or (self._looks >= STUCK_LOOKS and pending < MOST_STUCK):
            self._looks = 0
            link.hold(False)
        if self._held:
            link.hold(True)
            self._link.loop.call_later(RELIEF_SECONDS, self._look_again)

    def _answer(self, frame: Query, session: str) -> None:
        """Another app server fetches sockets; these are ours. Sessions may be large, and so are told in
        a thread of the pool."""
        chunks = tuple(chunks_of(self.facts_of(sid, frame.namespace) for sid in frame.sockets))
        try:
            self._link.send(Facts(frame.ref, chunks), session)
        except MoorageError as error:
            _log.error("sockets' data could not be told: %s", error)

    def facts_of(self, sid: str, namespace: str) -> bytes:
        """What others may know of one of our own sockets."""
        member = self._manager.members.get(sid, namespace)
        if member is None:
            return b""
        return facts_json(member.client.session.get(namespace), member.auth)

    def _failed(self, frame: Failed) -> None:
        """Something that nobody waits for, an emit as a rule."""
        error = RequestFailed(frame.number, frame.reason, frame.message)
        _log.error("the service did not do what was asked: %s", error)
        self._tell("error", error)

    def _drain(self, frame: Drain) -> None:
        _log.warning("the service goes in %.0f s", frame.seconds)
        self._tell("draining", frame.seconds)
