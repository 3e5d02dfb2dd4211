"""The frames of the service on the link's thread, and how many of them may wait for a handler's thread."""

from __future__ import annotations

import logging
from functools import partial
from typing import Final

from moorage.sdk.errors import MoorageError
from moorage.sdk.exchange.inbox import Inbox, Tell
from moorage.sdk.threads.dispatch import ThreadsDispatcher
from moorage.sdk.threads.link import ThreadedLink
from moorage.sdk.threads.manager import ThreadsManager
from moorage.sdk.threads.pool import Pool
from moorage.sdk.threads.server_events import ThreadsServerEvents
from moorage.wire.moorage.v1 import FromService, Query

MAX_PENDING: Final = 16 * 1024 * 1024
"""Bytes of packets that may wait for a thread. Beyond this the service has to wait, too."""
RELIEF_SECONDS: Final = 0.02
"""Seconds between two checks of whether the service may go on."""
STUCK_LOOKS: Final = 5
"""After this many checks without a handler begun, the handlers may be waiting for something that is behind
the packets not read: an answer of the service or a client's ack."""
MAX_STUCK: Final = 64 * 1024 * 1024
"""Maximum bytes that are then read, one window at a time."""

_log = logging.getLogger("moorage.sdk")


class ThreadsInbox(Inbox):
    """`Inbox` whose methods run on the link's thread."""

    def __init__(self, tell: Tell) -> None:
        super().__init__(tell)
        self._telling = Pool(1, "moorage-facts")
        """Apart from the handlers' threads, which may all be asking an app server that asks this one."""
        self._held = False
        self._looks = self._begun = 0
        self._link: ThreadedLink
        self._pending: ThreadsDispatcher

    def serve_threads(
        self,
        link: ThreadedLink,
        dispatcher: ThreadsDispatcher,
        manager: ThreadsManager,
        server_events: ThreadsServerEvents,
    ) -> None:
        """From here on frames may come."""
        self._link = link
        self._pending = dispatcher
        self.serve(dispatcher, lambda: manager.members, told=server_events.told, query=self._query)

    def stop(self) -> None:
        """Answer no more queries."""
        self._telling.stop()

    def received(self, frames: list[FromService]) -> None:
        """Handle a batch, as `Inbox.received` does. The service waits while too many packets wait here."""
        super().received(frames)
        if self._pending.pending > MAX_PENDING and not self._held:
            self._look_again()

    def link_event(self, name: str, error: Exception | None) -> None:
        """As `Inbox.link_event`. Later calls of the app raise the error of a link that has failed."""
        if name == "failed":
            self._link.failure = error
        super().link_event(name, error)

    def _look_again(self) -> None:
        """Hold while too much is pending. A timer calls this: handlers end in threads of their own, and a
        message from each to this thread would cost more."""
        pending, begun, link = self._pending.pending, self._pending.begun, self._link.link
        self._looks = self._looks + 1 if begun == self._begun else 0
        self._begun = begun
        self._held = pending > MAX_PENDING // 2
        if not self._held or (self._looks >= STUCK_LOOKS and pending < MAX_STUCK):
            self._looks = 0
            link.hold(False)
        if self._held:
            link.hold(True)
            self._link.loop.call_later(RELIEF_SECONDS, self._look_again)

    def _query(self, frame: Query) -> None:
        # Sessions may be large, so they are encoded in another thread.
        self._telling.submit(partial(self._answer, frame, self._link.session_of(frame.ref)))

    def _answer(self, frame: Query, session: str) -> None:
        try:
            self._link.send(self.facts(frame), session)
        except MoorageError as error:
            _log.error("the data of sockets could not be sent: %s", error)
