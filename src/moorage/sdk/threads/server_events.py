"""Events between app servers, handled in threads."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

from moorage.sdk.aio.server_events import Handler
from moorage.sdk.errors import MoorageError
from moorage.sdk.payload import Codec
from moorage.sdk.threads.pool import Pool
from moorage.wire.moorage.v1 import FromApp, Reply, Told

_log = logging.getLogger("moorage.sdk")


class ThreadsServerEvents:
    """The handlers of one app server. One per event and namespace, as in python-socketio; what it
    returns is its answer."""

    def __init__(
        self,
        transmit: Callable[[FromApp, str], None],
        codec: Codec,
        pool: Pool,
        *,
        session: Callable[[], str],
    ) -> None:
        """`session` gives the id of the link's present session."""
        self._transmit = transmit
        self._session = session
        self._codec = codec
        self._pool = pool
        self._handlers: dict[tuple[str, str], Handler] = {}

    def add(self, namespace: str, event: str, handler: Handler) -> None:
        """A later handler of the same event replaces the former."""
        self._handlers[namespace, event] = handler

    def told(self, frame: Told) -> None:
        """Another app server's event. Without a handler nothing is answered, and the asker then hears
        that this app server did not; unless it has no handler at all in that namespace."""
        try:
            name, *arguments = self._codec.arguments(frame.payload)
        except ValueError as error:
            _log.warning("an event of app server %s cannot be read: %s", frame.sender, error)
            return
        handler = self._handlers.get((frame.namespace, name))
        if handler is None:
            _log.debug("no handler for %r of app server %s", name, frame.sender)
            if frame.ref and not any(namespace == frame.namespace for namespace, _ in self._handlers):
                # Nothing here is about that namespace: nobody is to wait for this app server.
                self._transmit(Reply(frame.ref, b""), self._session())
            return
        self._pool.submit(partial(self._run, handler, arguments, frame, self._session()))

    def _run(self, handler: Handler, arguments: list[Any], frame: Told, session: str) -> None:
        try:
            result = handler(*arguments)
        except Exception:
            _log.exception("the handler of a server-side event failed")
            return
        if not frame.ref:
            return
        if result is None:
            data = []
        elif isinstance(result, tuple):
            data = list(result)
        else:
            data = [result]
        try:
            self._transmit(Reply(frame.ref, self._codec.ack(frame.namespace, 0, data)), session)
        except MoorageError as error:
            _log.error("the answer to a server-side event cannot be sent: %s", error)
