"""Events between app servers: who handles them here, and what is answered."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable
from typing import Any, TypeVar

from moorage.sdk.aio.link import Link
from moorage.sdk.errors import MoorageError
from moorage.sdk.payload import Codec
from moorage.wire.moorage.v1 import Reply, Told

Handler = Callable[..., Any]
HandlerT = TypeVar("HandlerT", bound=Handler)

_log = logging.getLogger("moorage.sdk")


class ServerEvents:
    """The handlers of one app server. One per event and namespace, as in python-socketio; what it
    returns is its answer."""

    def __init__(self, link: Link, codec: Codec) -> None:
        self._link = link
        self._codec = codec
        self._handlers: dict[tuple[str, str], Handler] = {}
        self._tasks: set[asyncio.Task[None]] = set()

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
                self._link.send(Reply(frame.ref, b""))
            return
        running = self._run(handler, arguments, frame, self._link.session.id)
        task = asyncio.get_running_loop().create_task(running)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, handler: Handler, arguments: list[Any], frame: Told, session: str) -> None:
        try:
            result = handler(*arguments)
            if inspect.isawaitable(result):
                result = await result
        except Exception:
            _log.exception("the handler of a server-side event failed")
            return
        if not frame.ref or session != self._link.session.id:
            # In another session the number may be that of another question.
            return
        if result is None:
            data = []
        elif isinstance(result, tuple):
            data = list(result)
        else:
            data = [result]
        try:
            self._link.send(Reply(frame.ref, self._codec.ack(frame.namespace, 0, data)))
        except MoorageError as error:
            _log.error("the answer to a server-side event cannot be sent: %s", error)
