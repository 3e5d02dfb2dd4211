"""Runs the handlers of clients' packets in tasks, in order. Everything runs on the link's event loop."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import socketio

from moorage.sdk.aio.engine import AioClient, Engine
from moorage.sdk.aio.events import Events
from moorage.sdk.aio.manager import Manager
from moorage.sdk.clients.environ import environ_of
from moorage.sdk.clients.members import Member, Stage
from moorage.sdk.clients.packets import Ack, Connect, Event, refusal
from moorage.sdk.errors import MoorageError
from moorage.sdk.exchange.dispatch import CLIENT_QUEUE, ClientDispatcher
from moorage.sdk.payload import Codec
from moorage.wire.errors import PeerError
from moorage.wire.moorage.v1 import FromApp, Open, Trace, Traced

Turn = Callable[[], Awaitable[object] | None]

_log = logging.getLogger("moorage.sdk")


class Dispatcher(ClientDispatcher[AioClient]):
    """Handles the frames that are about clients."""

    def __init__(self, sio: Any, engine: Engine, manager: Manager, codec: Codec, events: Events) -> None:
        super().__init__(sio, engine, manager, codec)
        self._engine = engine
        self._manager: Manager = manager
        self._events = events
        events.ended = self.handler_ended
        self._loop = asyncio.get_running_loop()
        self._workers: set[asyncio.Task[None]] = set()

    async def settled(self) -> None:
        """Wait until no ordered handler runs any more, except the caller."""
        asker = asyncio.current_task()
        while others := {worker for worker in self._workers if worker is not asker}:
            await asyncio.wait(others)

    def _make(self, frame: Open) -> AioClient:
        return AioClient(self._engine, frame.client, frame.id, environ_of(frame))

    def _transmit(self, client: AioClient, frame: FromApp) -> None:
        if type(frame) is Traced:
            self._engine.link.send_in(client.link_session, frame)
        else:
            self._engine.link.send(frame)

    def _is_running(self, client: AioClient) -> bool:
        return self._events.runs(client)

    def _late_ack(self, member: Member, ack: Ack) -> None:
        self._manager.answered(member, ack.id, ack.data)

    async def _arrive(self, client: AioClient, member: Member) -> None:
        sio, place = self._sio, ("connect", member.namespace, member.sid)
        environ = client.environ
        try:
            if member.auth:
                accepted = await sio._trigger_event(*place, environ, member.auth)
            else:
                try:
                    accepted = await sio._trigger_event(*place, environ)
                except TypeError:
                    accepted = await sio._trigger_event(*place, environ, None)
        except socketio.exceptions.ConnectionRefusedError:
            accepted = False
        except Exception:
            _log.exception("the connect handler of %s failed", member.namespace)
            accepted = False
        if accepted is False:
            self._refuse(client, member, failed=True, answered=True)

    # -- packets --------------------------------------------------------------------------------------------

    def _packet(self, client: AioClient, packet: bytes) -> None:
        if packet[:2] in (b"43", b"46"):
            plan = self._reader.read(packet)
            member = client.members.get(plan.namespace)
            if member is not None and isinstance(plan, Ack):
                self._manager.answered(member, plan.id, plan.data)
            return
        trace, client.trace = client.trace, None
        if client.work is not None:
            self._queue(client, partial(self._turn, client, packet, trace), len(packet))
        else:
            call = self._turn(client, packet, trace)
            if call is not None:
                self._queue(client, lambda: call)

    def _turn(self, client: AioClient, packet: bytes, trace: Trace | None = None) -> Awaitable[object] | None:
        """Handle a packet whose turn it is. A returned awaitable must end before the client's next turn."""
        if client.closing:
            return None
        try:
            plan = self._reader.read(packet)
        except (PeerError, ValueError) as error:
            self._bad(client, str(error))
            return None
        if type(plan) is Event:
            member = client.members.get(plan.namespace)
            if member is None or member.stage is not Stage.CONNECTED:
                # The client sent it before it heard of its disconnect.
                self._unhandled(client, trace)
                return None
            span = None if trace is None else self._span(client, trace, plan.data[0], member)
            return self._events.start(member, plan.data, plan.id, len(packet), span)
        if isinstance(plan, Connect):
            return self._connect(client, plan)
        return self._end_socket(client, plan.namespace, self._sio.reason.CLIENT_DISCONNECT)

    async def _connect(self, client: AioClient, plan: Connect) -> None:
        key, failed = (client.sid, plan.namespace), False
        self._manager.auth[key] = plan.auth
        try:
            await self._sio._handle_eio_message(client.sid, plan.text)
        except Exception as error:
            if isinstance(error, ValueError) and plan.namespace not in client.members:
                self._bad(client, str(error))
                return
            # python-socketio would leave the client waiting for an answer.
            _log.exception("the connect handler of %s failed", plan.namespace)
            failed = True
        finally:
            self._manager.auth.pop(key, None)
            answered = self._sio.always_connect
            self._refuse(client, client.members.get(plan.namespace), failed=failed, answered=answered)

    def _refuse(self, client: AioClient, member: Member | None, *, failed: bool, answered: bool) -> None:
        message = refusal(member, failed=failed, always_connect=answered)
        if message is None or member is None:
            return
        self._manager.remove(member)
        try:
            client.send_message(message)
        except MoorageError as error:
            # After its connection has ended the client tries again; without an answer it would wait.
            self._bad(client, f"its CONNECT cannot be answered: {error}")

    async def _end_socket(self, client: AioClient, namespace: str, reason: str) -> None:
        member = client.members.get(namespace)
        if member is None or member.stage is Stage.LEAVING:
            return
        try:
            # Not `_handle_disconnect`: it would end by removing the socket with this id, and by then the
            # client may have come back to it.
            if self._manager.claim(member):
                await self._sio._trigger_event("disconnect", namespace, member.sid, reason)
        except Exception:
            _log.exception("the disconnect handler of %s failed", namespace)
        finally:
            self._manager.remove(member)

    async def _end_client(self, client: AioClient, reason: str) -> None:
        if client.may_return and self._engine.link.recovers(client.number):
            members = [member for member in client.members.values() if member.stage is Stage.CONNECTED]
            # As soon as one of the handlers waits for something, or all have ended.
            self._loop.call_soon(self._save, client, members)
        for namespace in list(client.members):
            await self._end_socket(client, namespace, reason)
        for member in list(client.members.values()):
            self._manager.remove(member)  # its handler runs for `sio.disconnect`, or has raised there
        try:
            await self._engine.handlers["disconnect"](client.sid, reason)
        finally:
            self._engine.remove(client)

    def _save(self, client: AioClient, members: list[Member]) -> None:
        for member in members:
            if member.dismissed:
                continue
            try:
                self._engine.link.send_in(client.link_session, self._kept(client, member))
            except MoorageError as error:
                _log.error("socket %s cannot be recovered: %s", member.sid, error)

    def _follow(self, client: AioClient, former: AioClient) -> None:
        if former.work is not None:
            ended = self._loop.create_future()
            self._queue(former, partial(ended.set_result, None))
            self._queue(client, lambda: ended)

    # -- turns ----------------------------------------------------------------------------------------------

    def _in_order(self, client: AioClient, job: Turn) -> None:
        self._queue(client, job)

    def _queue(self, client: AioClient, turn: Turn, size: int = 0) -> None:
        """Run `turn` after all earlier turns, and await what it returns before the next one. The queue of
        packets is bounded by their sizes; the events of a client's life are not bounded."""
        if client.work is None:
            client.work = deque((partial(self._sized, client, turn, 0),))
            task = self._loop.create_task(self._work(client))
            self._workers.add(task)
            task.add_done_callback(self._workers.discard)
            return
        if size and client.queued + size > CLIENT_QUEUE:
            self._bad(client, "it sends faster than its handlers take it")
            return
        client.queued += size
        self._events.begin(size)
        client.work.append(partial(self._sized, client, turn, size))

    def _sized(self, client: AioClient, turn: Turn, size: int) -> Awaitable[object] | None:
        if size:
            client.queued -= size
            self._events.finish(size)
        return turn()

    async def _work(self, client: AioClient) -> None:
        assert client.work is not None
        task = asyncio.current_task()
        while client.work:
            try:
                call = client.work.popleft()()
                if call is not None:
                    await call
            except asyncio.CancelledError:
                if task is None or task.cancelling():
                    raise
                _log.exception("a handler of client %s was cancelled", client.sid)
            except Exception:
                _log.exception("handling a packet of client %s failed", client.sid)
        client.work = None
