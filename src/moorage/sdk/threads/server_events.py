"""Runs the handlers of events between app servers, each in a thread of the pool."""

from __future__ import annotations

import logging
from functools import partial

from moorage.sdk.errors import MoorageError
from moorage.sdk.exchange.server_events import HandlerCall, ServerEvents
from moorage.sdk.payload import Codec
from moorage.sdk.threads.link import ThreadedLink
from moorage.sdk.threads.pool import Pool
from moorage.wire.moorage.v1 import Reply, Told

_log = logging.getLogger("moorage.sdk")


class ThreadsServerEvents(ServerEvents):
    """`ServerEvents` whose handlers may block."""

    def __init__(self, link: ThreadedLink, codec: Codec, pool: Pool) -> None:
        super().__init__(codec)
        self._link = link
        self._pool = pool

    def told(self, frame: Told) -> None:
        """Another app server's event; called on the link's thread."""
        session = self._link.session_of(frame.ref)
        plan = self.plan(frame, session)
        if isinstance(plan, Reply):
            self._link.send(plan, session)
        elif plan is not None:
            self._pool.submit(partial(self._run, plan))

    def _run(self, call: HandlerCall) -> None:
        try:
            reply = self.reply(call, call.handler(*call.arguments))
        except Exception:
            _log.exception("the handler of a server-side event failed")
            return
        if reply is not None:
            try:
                self._link.send(reply, call.session)
            except MoorageError as error:
                _log.error("the answer to a server-side event cannot be sent: %s", error)
