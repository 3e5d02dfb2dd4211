"""Runs the handlers of events, and counts the bytes that are being handled. Events do not go through
`sio._handle_event`, which costs several layers of calls and a slower JSON decoder. If a subclass or a tracing
tool has replaced one of those layers, events go through all of them."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable
from contextvars import ContextVar, copy_context
from types import FunctionType
from typing import Any, Final

import socketio.async_server

from moorage.sdk.aio.fleet import Fleet
from moorage.sdk.clients.members import ClientRecord, Member, Parting
from moorage.sdk.errors import MoorageError, NotSerialisable
from moorage.sdk.exchange.dispatch import HANDLER_COST
from moorage.sdk.exchange.server_events import returned
from moorage.sdk.payload import Codec
from moorage.sdk.tracing import HandlerSpan
from moorage.wire.moorage.v1 import Packet

MAX_BACKLOG: Final = 64 * 1024 * 1024
"""Bytes of packets whose handlers may run at a time. Beyond this the service has to wait."""

_TRIGGER: Final = frozenset({"_trigger_event"})
_LAYERS: Final = _TRIGGER | {"_handle_event", "_handle_event_internal"}
_LIBRARY: Final = socketio.async_server.__file__

_log = logging.getLogger("moorage.sdk")

Handling = asyncio.Task[Any] | None
"""The task of a handler; None outside of handlers."""

_handling: ContextVar[Handling] = ContextVar("moorage_handling", default=None)


class Waits:
    """Which handlers wait for something that comes over the link: acks of clients, answers of the service.
    Waiting callbacks do not show that: one may wait for ever after its handler has given up."""

    def __init__(self) -> None:
        self.running: dict[Handling, Member] = {}
        """The running handlers, with the sockets whose events they handle."""
        self.waiting: dict[Handling, int] = {}
        """The number of awaited answers, by handler."""
        self.begun: Callable[[], object] = bool
        """Called when one more handler waits."""

    def begin(self) -> Handling:
        """Note that the current handler waits, or a task that it has made. Returns a value for `end`."""
        handling = _handling.get()
        if handling is None or handling not in self.running:
            return None
        self.waiting[handling] = self.waiting.get(handling, 0) + 1
        self.begun()
        return handling

    def end(self, handling: Handling) -> None:
        """The answer has come, or the handler has stopped waiting for it."""
        left = self.waiting.pop(handling, 0) - 1
        if left > 0:
            self.waiting[handling] = left


class Events:
    """The handlers of one `socketio` server."""

    def __init__(
        self, sio: Any, link: Fleet, codec: Codec, waits: Waits, *, max_backlog: int = MAX_BACKLOG
    ) -> None:
        self._sio = sio
        self._not_handled = sio.not_handled
        self._link = link
        self._codec = codec
        self._running, self._waiting = waits.running, waits.waiting
        waits.begun = self.look_again
        self.ended: Callable[[Any], object] = bool
        """Called when a handler of a client that moves has ended."""
        self._max_backlog = max_backlog
        self._loop = asyncio.get_running_loop()
        self._replaced = frozenset(name for name in _LAYERS if not _is_library(type(sio), name))
        self._coroutines: dict[Any, bool] = {}
        self._bytes = 0
        self._held = False

    # -- how much runs ----------------------------------------------------------------------------------

    def begin(self, size: int) -> None:
        """A packet of this size waits or is being handled."""
        self._bytes += size
        if self._bytes > self._max_backlog and not self._held:
            self._held = self._too_much()
            if self._held:
                self._link.hold(True)

    def finish(self, size: int) -> None:
        """The packet has been handled."""
        self._bytes -= size
        if self._held:
            self.look_again()

    def look_again(self) -> None:
        """Let the service continue, if it has to wait because of the backlog."""
        if self._held and not self._too_much():
            self._held = False
            self._link.hold(False)

    def _too_much(self) -> bool:
        """True if the service has to wait. Handlers that wait for an answer do not count: the answer would be
        behind the packets that are not read."""
        running = max(1, len(self._running))
        free = running - len(self._waiting)
        return self._bytes * free > self._max_backlog * running

    def runs(self, client: ClientRecord) -> bool:
        """A handler of the client runs."""
        return any(member.client is client for member in self._running.values())

    # -- running ----------------------------------------------------------------------------------------

    def start(
        self,
        member: Member,
        data: list[Any],
        ack_id: int | None,
        size: int,
        span: HandlerSpan | None = None,
    ) -> Awaitable[object] | None:
        """Run the handler of an event, if there is one, within `span`. A returned awaitable must end before
        the client's next packet is handled."""
        sio, name = self._sio, data[0]
        if self._replaced or not vars(sio).keys().isdisjoint(_LAYERS):
            return self._layered(member, data, ack_id, size, span)
        arguments: Any = (member.sid, *data[1:])
        handler, arguments = sio._get_event_handler(name, member.namespace, arguments)
        if handler is None:
            handler, arguments = sio._get_namespace_handler(member.namespace, arguments)
            if handler is None:
                if span is not None:
                    span.end()
                return None
            handler, arguments = handler.trigger_event, (name, *arguments)
        elif not self._is_coroutine(handler):
            self._call(handler, arguments, member, ack_id, span)
            return None
        self.begin(size + HANDLER_COST)
        running = self._run(handler, arguments, member, ack_id, size + HANDLER_COST, span)
        if not sio.async_handlers:
            return running
        self._loop.create_task(running, name="moorage-event")
        return None

    def _layered(
        self, member: Member, data: list[Any], ack_id: int | None, size: int, span: HandlerSpan | None
    ) -> Awaitable[object] | None:
        """By way of what somebody has put into the server. `_trigger_event`, which tracing replaces, runs
        as a handler does and counts like one. Behind the other layers only the library knows what runs."""
        sio = self._sio
        if self._replaced | (vars(sio).keys() & _LAYERS) != _TRIGGER:
            handling: Awaitable[object] = sio._handle_event(member.client.sid, member.namespace, ack_id, data)
            return handling if span is None else _within(span, handling)
        arguments = (data[0], member.namespace, member.sid, *data[1:])
        self.begin(size + HANDLER_COST)
        running = self._run(sio._trigger_event, arguments, member, ack_id, size + HANDLER_COST, span)
        if not sio.async_handlers:
            return running
        self._loop.create_task(running, name="moorage-event")
        return None

    def _is_coroutine(self, handler: Any) -> bool:
        # Asking `inspect` costs a microsecond, and there are few handlers.
        try:
            return self._coroutines[handler]
        except KeyError:
            found = self._coroutines[handler] = inspect.iscoroutinefunction(handler)
            return found
        except TypeError:  # cannot be hashed
            return inspect.iscoroutinefunction(handler)

    def _call(
        self, handler: Any, arguments: Any, member: Member, ack_id: int | None, span: HandlerSpan | None
    ) -> None:
        """A plain function. In a context of its own, as if in a task: what it sets there must not
        show up in another handler."""
        context = copy_context()
        if span is not None:
            context.run(span.enter)
        try:
            result = context.run(handler, *arguments)
        except (Exception, asyncio.CancelledError) as error:
            _log.exception("handler %s failed", _name(handler))
            if span is not None:
                span.end(error)
            return
        if ack_id is not None:
            self._acknowledge(handler, member, ack_id, result)
        if span is not None:
            span.end()

    async def _run(
        self,
        handler: Any,
        arguments: Any,
        member: Member,
        ack_id: int | None,
        size: int,
        span: HandlerSpan | None,
    ) -> None:
        # Kept by hand: a task that only its own futures refer to may be collected, and a done callback
        # would cost another turn of the loop for each event.
        task = asyncio.current_task(self._loop)
        self._running[task] = member
        # Seen in tasks that it makes as well.
        _handling.set(task)
        failure: BaseException | None = None
        token = None if span is None else span.enter()
        try:
            try:
                result = await handler(*arguments)
            except asyncio.CancelledError:
                result = None  # as the library has it
            if ack_id is not None and result is not self._not_handled:
                self._acknowledge(handler, member, ack_id, result)
                if self._link.congested:
                    await self._link.drained()
        except Exception as error:
            failure = error
            _log.exception("handler %s failed", _name(handler))
        finally:
            if span is not None:
                span.leave(token)
                span.end(failure)
            self._running.pop(task, None)
            if self._waiting:
                self._waiting.pop(task, None)  # whatever it did not wait for in the end
            self.finish(size)
            if member.client.parting is not Parting.NO:
                self.ended(member.client)

    def _acknowledge(self, handler: Any, member: Member, ack_id: int, result: Any) -> None:
        if member.client.gone:
            return
        try:
            payload = self._codec.ack(member.namespace, ack_id, returned(result))
            self._link.send(Packet(member.client.number, payload))
        except NotSerialisable as error:
            _log.error("what %s returned cannot be sent: %s", _name(handler), error)
        except MoorageError as error:
            _log.error("the answer of %s cannot be sent: %s", _name(handler), error)


async def _within(span: HandlerSpan, handling: Awaitable[object]) -> None:
    token = span.enter()
    try:
        await handling
    finally:
        span.leave(token)
        span.end()


def _is_library(owner: type[Any], name: str) -> bool:
    """The method is the library's own: no subclass and no tracing tool has put another in its place."""
    found = inspect.getattr_static(owner, name)
    return type(found) is FunctionType and found.__code__.co_filename == _LIBRARY


def _name(handler: Any) -> str:
    return getattr(handler, "__qualname__", repr(handler))
