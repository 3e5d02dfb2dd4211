"""The client manager of an `AsyncServer`: sends what `SocketManager` plans, and waits for answers."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable
from contextlib import nullcontext
from functools import partial
from typing import Any

import socketio

from moorage.sdk.aio.events import Handling, Waits
from moorage.sdk.aio.fleet import Fleet
from moorage.sdk.clients.clients import ClientTable
from moorage.sdk.clients.members import Callback, Member
from moorage.sdk.errors import LinkClosed, RequestTimeout, SessionLost
from moorage.sdk.exchange.change import Make, RoomChange
from moorage.sdk.exchange.manager import ANSWER_SECONDS, CALLBACK_SECONDS, AckCallbacks, SocketManager, Step
from moorage.sdk.exchange.targets import arguments_of
from moorage.sdk.link.session import End, TakesPart, Waiter
from moorage.sdk.payload import Codec
from moorage.wire.moorage.v1 import VOLATILE, Done, Emit, Packet
from moorage.wire.socketio import disconnect_packet

_log = logging.getLogger("moorage.sdk")


class Manager(SocketManager, socketio.AsyncManager):  # type: ignore[misc]
    """Stands in `sio.manager`."""

    def __init__(self, link: Fleet, codec: Codec, table: ClientTable[Any], waits: Waits) -> None:
        super().__init__()
        self._manage(table, codec, nullcontext())
        self._link = link
        self._waits = waits
        self._tasks: set[asyncio.Task[Any]] = set()

    # -- emits ----------------------------------------------------------------------------------------------

    async def emit(  # noqa: PLR0917 (the library's signature)
        self,
        event: str,
        data: Any,
        namespace: str,
        room: Any = None,
        skip_sid: Any = None,
        callback: Callback | None = None,
        to: Any = None,
        *,
        flags: int = 0,
        **ignored: Any,
    ) -> None:
        """Raises `NotSerialisable`, `TooLarge`, `QueueFull` and the error that ended the link. Waits while
        the queue is long."""
        link = self._link
        if callback is not None:
            arguments = [event, *arguments_of(data)]
            self._emit_asking(arguments, namespace, to or room, skip_sid, callback, flags)
        else:
            frame, _ = self.plan_emit(event, data, namespace, to or room, skip_sid, flags)
            if flags & VOLATILE and (not link.up or link.congested):
                return
            link.send(frame)
            if self.connecting and type(frame) is Emit and not flags & VOLATILE:
                for member in self.also_to(frame.to):
                    link.send(Packet(member.client.number, frame.payload))
        if link.congested:
            await link.drained()

    def _emit_asking(
        self, arguments: list[Any], namespace: str, room: Any, skip: Any, callback: Callback, flags: int
    ) -> None:
        member = self.reachable(room, namespace) if skip is None else None
        if member is None:
            if not self._link.left:
                make = self.ask_with_ack(namespace, arguments, room, skip, flags)
                handling = self._waits.begin()
                answers = AckCallbacks(
                    self._codec, partial(self.call_back, callback), partial(self._waits.end, handling)
                )
                try:
                    self._link.ask(make, answers, CALLBACK_SECONDS + ANSWER_SECONDS)
                except BaseException:
                    self._waits.end(handling)
                    raise
            return
        handling = self._waits.begin()
        answer = partial(self._answer, handling, callback)
        ack_id = None
        try:
            planned = self.packet_with_ack(member, namespace, arguments, answer)
            assert planned is not None, "a reachable client is not moving"
            packet, ack_id = planned
            self._link.send(packet)
        except BaseException:
            # An event that was not sent will not be answered.
            member.answered(ack_id)
            self._waits.end(handling)
            raise

    async def trigger_callback(self, sid: str, id: int, data: list[Any]) -> None:
        """The library passes on an ACK for an own socket."""
        member = self.members.by_id.get(sid)
        if member is not None:
            self.answered(member, id, data)

    def answered(self, member: Member, ack_id: int | None, arguments: list[Any]) -> None:
        """An ACK for an own socket has arrived."""
        answer = member.answered(ack_id)
        if answer is not None:
            answer(arguments)

    def _answer(self, handling: Handling, callback: Callback, arguments: list[Any]) -> None:
        self._waits.end(handling)
        self.call_back(callback, arguments)

    def call_back(self, callback: Callback, arguments: list[Any]) -> None:
        """Run a callback. An exception is logged; a coroutine function runs in a task."""
        try:
            result = callback(*arguments)
        except (Exception, asyncio.CancelledError):
            _log.exception("the callback of an emit failed")
            return
        if inspect.isawaitable(result):
            task = asyncio.ensure_future(_guarded(result))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    # -- rooms ----------------------------------------------------------------------------------------------

    async def enter_room(self, sid: str, namespace: str, room: Any, eio_sid: str | None = None) -> None:
        """Put the socket into the room. When this returns, every later emit of every app server reaches it
        there."""
        if await self._carry_out(self.plan_enter(sid, namespace, room), sid, namespace):
            self.basic_enter_room(sid, namespace, room)

    async def leave_room(self, sid: str, namespace: str, room: Any) -> None:
        """Take the socket out of the room. It is no error if the socket is not in the room."""
        if await self._carry_out(self.plan_leave(sid, namespace, room), sid, namespace):
            self.basic_leave_room(sid, namespace, room)

    async def close_room(self, room: Any, namespace: str) -> None:
        """Take all sockets of all app servers out of the room."""
        make, undo = self.plan_close(room, namespace)
        try:
            await self.request(make)
        except (RequestTimeout, SessionLost):
            raise
        except Exception:
            undo()
            raise

    async def _carry_out(self, step: Step, sid: str, namespace: str) -> bool:
        """True for an own socket."""
        if isinstance(step, RoomChange):
            await self._change(step)
            return True
        if step is not None:
            await self.request(step)
            return False
        return self.members.get(sid, namespace) is not None

    async def _change(self, change: RoomChange) -> None:
        done: asyncio.Future[End] = asyncio.get_running_loop().create_future()
        try:
            self._link.ask(change.make, Waiter(done, ended=change.ended), ANSWER_SECONDS)
        except BaseException:
            change.abandon()
            raise
        handling = self._waits.begin()
        try:
            await done
        except LinkClosed:
            if not self._link.left:
                raise
        finally:
            self._waits.end(handling)

    async def request(self, make: Make) -> Done:
        """Send a request that the service answers at once. Raises the errors of `Link.request`. After `close`
        nothing happens, and the count is 0."""
        try:
            end = await self.ask(make, timeout=ANSWER_SECONDS)
        except LinkClosed:
            if self._link.left:
                return Done(0, 0)
            raise
        assert isinstance(end, Done)
        return end

    async def ask(self, make: Make, *, timeout: float, part: TakesPart | None = None) -> End:
        """`Link.request`. Meanwhile the handler that asks counts as waiting."""
        handling = self._waits.begin()
        try:
            return await self._link.request(make, timeout=timeout, part=part)
        finally:
            self._waits.end(handling)

    # -- life of a socket -----------------------------------------------------------------------------------

    async def pre_connect(self, eio_sid: str, namespace: str) -> str | None:
        """A CONNECT came; None refuses a second one."""
        return self.add_socket(eio_sid, namespace)

    async def connect(self, sid: str, namespace: str) -> str | None:
        """The CONNECT was answered."""
        self.connected(sid, namespace)
        return sid

    async def disconnect(self, sid: str, namespace: str, **ignored: Any) -> None:
        """The socket is gone."""
        member = self.members.get(sid, namespace)
        if member is not None:
            self.remove(member)

    async def can_disconnect(self, sid: Any, namespace: str) -> bool:
        """Disconnects the socket and returns False, so that the library does nothing more: it would keep an
        own socket whose `disconnect` handler raises. The service disconnects the sockets of other app
        servers."""
        member = self.staying(sid, namespace)
        if member is None:
            make = self.disconnect_elsewhere(sid, namespace)
            if make is not None:
                await self.request(make)
        elif self.claim(member):
            try:
                self._send_end(member)
            finally:
                await self._run_disconnect(member)
        return False

    def _send_end(self, member: Member) -> None:
        client = member.client
        if not client.gone:
            self._link.send(Packet(client.number, disconnect_packet(member.namespace)))
        elif client.may_return and self._link.recovers(client.number):
            self._link.send(self.dismissal(member))

    async def _run_disconnect(self, member: Member) -> None:
        place = ("disconnect", member.namespace, member.sid)
        try:
            await self.server._trigger_event(*place, self.server.reason.SERVER_DISCONNECT)
        finally:
            self.remove(member)


async def _guarded(call: Awaitable[object]) -> None:
    try:
        await call
    except Exception:
        _log.exception("the callback of an emit failed")
