"""Events between app servers: the choice of a handler, and the answer. No I/O."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from moorage.sdk.errors import NotSerialisable
from moorage.sdk.payload import Codec
from moorage.wire.moorage.v1 import Reply, Told

Handler = Callable[..., Any]
HandlerT = TypeVar("HandlerT", bound=Handler)

_log = logging.getLogger("moorage.sdk")


class HandlerCall(NamedTuple):
    """A handler to run. `session` is the session of the link in which `frame.ref` is valid."""

    handler: Handler
    arguments: list[Any]
    frame: Told
    session: str


class ServerEvents:
    """The handlers of one app server: one per event and namespace, as in python-socketio. The return value of
    a handler is the answer."""

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
        self._handlers: dict[tuple[str, str], Handler] = {}

    def add(self, namespace: str, event: str, handler: Handler) -> None:
        """A later handler of the same event replaces the earlier one."""
        self._handlers[namespace, event] = handler

    def plan(self, frame: Told, session: str) -> HandlerCall | Reply | None:
        """Choose the reaction to another app server's event. An app server without any handler in the
        namespace replies at once, so that the asker does not wait for it. One that has handlers there, but
        none for this event, does not reply: the asker counts it as missing."""
        try:
            name, *arguments = self._codec.arguments(frame.payload)
        except ValueError as error:
            _log.warning("an event of app server %s cannot be read: %s", frame.sender, error)
            return None
        handler = self._handlers.get((frame.namespace, name))
        if handler is not None:
            return HandlerCall(handler, arguments, frame, session)
        _log.debug("no handler for %r of app server %s", name, frame.sender)
        if frame.ref and not any(namespace == frame.namespace for namespace, _ in self._handlers):
            return Reply(frame.ref, b"")
        return None

    def reply(self, call: HandlerCall, result: Any) -> Reply | None:
        """The frame that carries the handler's answer; None if none is wanted or it cannot be sent."""
        frame = call.frame
        if not frame.ref:
            return None
        try:
            return Reply(frame.ref, self._codec.ack(frame.namespace, 0, returned(result)))
        except NotSerialisable as error:
            _log.error("the answer to a server-side event cannot be sent: %s", error)
            return None


def returned(result: Any) -> list[Any]:
    """The arguments of an ack, from what a handler has returned: a tuple is several."""
    if result is None:
        return []
    return list(result) if isinstance(result, tuple) else [result]
