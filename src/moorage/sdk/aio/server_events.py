"""Runs the handlers of events between app servers, each in a task."""

from __future__ import annotations

import asyncio
import inspect
import logging

from moorage.sdk.aio.fleet import Fleet
from moorage.sdk.errors import MoorageError
from moorage.sdk.exchange.server_events import HandlerCall, ServerEvents
from moorage.sdk.payload import Codec
from moorage.wire.moorage.v1 import Reply, Told

_log = logging.getLogger("moorage.sdk")


class AioServerEvents(ServerEvents):
    """`ServerEvents` with functions and coroutine functions as handlers."""

    def __init__(self, link: Fleet, codec: Codec) -> None:
        super().__init__(codec)
        self._link = link
        self._tasks: set[asyncio.Task[None]] = set()

    def told(self, frame: Told) -> None:
        """Another app server's event."""
        plan = self.plan(frame, self._link.session_of(frame.ref))
        if isinstance(plan, Reply):
            self._link.send(plan)
        elif plan is not None:
            task = asyncio.get_running_loop().create_task(self._run(plan))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _run(self, call: HandlerCall) -> None:
        try:
            result = call.handler(*call.arguments)
            if inspect.isawaitable(result):
                result = await result
        except Exception:
            _log.exception("the handler of a server-side event failed")
            return
        reply = self.reply(call, result)
        if reply is not None and call.session == self._link.session_of(reply.ref):
            try:
                self._link.send(reply)
            except MoorageError as error:
                _log.error("the answer to a server-side event cannot be sent: %s", error)
