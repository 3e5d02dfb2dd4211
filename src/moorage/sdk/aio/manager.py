"""The client manager of an asynchronous `socketio` server: rooms and emits are the service's matter.

`emit` is one frame, whoever it goes to. Everything goes through the link's one queue, so that all
emits of this app server arrive in the order in which they were made.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import secrets
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import Any, Final

import socketio

from moorage.sdk.aio.events import Handling, Waits
from moorage.sdk.aio.link import Link
from moorage.sdk.change import Change
from moorage.sdk.errors import LinkClosed, MoorageError, RequestTimeout, SessionLost, UsageError
from moorage.sdk.members import Callback, ClientRecord, Member, Members, Stage, room_name, room_names
from moorage.sdk.payload import Codec
from moorage.sdk.session import End, Part
from moorage.wire.moorage.v1 import (
    VOLATILE,
    Answer,
    Ask,
    Disconnect,
    Done,
    Emit,
    Enter,
    Exit,
    FromApp,
    Join,
    Leave,
    Packet,
    To,
)
from moorage.wire.socketio import disconnect_packet

CALLBACK_SECONDS: Final = 60.0
"""How long callbacks of emits to sockets elsewhere are waited for; `call` waits as long by itself."""
ANSWER_SECONDS: Final = 30.0
"""For what the service answers at once, unless the link is down."""

_NOBODY: Final = secrets.token_urlsafe()
"""A room that nobody is in: what an empty collection of rooms comes to."""

_log = logging.getLogger("moorage.sdk")


class Manager(socketio.AsyncManager):  # type: ignore[misc]
    """Stands in `sio.manager`. `members` is the book-keeping of own sockets."""

    def __init__(
        self, link: Link, codec: Codec, find: Callable[[str], ClientRecord | None], waits: Waits
    ) -> None:
        super().__init__()
        self.members = Members()
        self.rooms = self.members.rooms
        self._link = link
        self._codec = codec
        self._find = find
        self._waits = waits
        self._connecting: set[Member] = set()
        """Those that the service does not know as members of their namespace yet."""
        self._tasks: set[asyncio.Task[Any]] = set()
        self.auth: dict[tuple[str, str], Any] = {}
        """`auth` of CONNECTs that are being handled, by client and namespace."""

    # -- emits ----------------------------------------------------------------------------------------

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
        """Raises `NotSerialisable`, `TooLarge`, `QueueFull` and what ended the link. Waits while the
        queue is long."""
        room = to or room
        arguments = [event, *arguments_of(data)]
        if callback is not None:
            self._emit_asking(arguments, namespace, room, skip_sid, callback, flags)
        else:
            payload = self._codec.event(namespace, arguments)
            if flags & VOLATILE and (not self._link.up or self._link.congested):
                return
            member = self._alone(room, namespace) if not flags and skip_sid is None else None
            if member is not None:
                self._link.send(Packet(member.client.number, payload))
            else:
                whom = target(namespace, room, skip_sid)
                self._link.send(Emit(0, whom, flags, payload))
                if self._connecting and not flags & VOLATILE:
                    self._to_connecting(whom, payload)
        if self._link.congested:
            await self._link.drained()

    def _to_connecting(self, whom: To, payload: bytes) -> None:
        """With python-socketio, what a `connect` handler emits to all, or to its own socket among others,
        reaches that as well."""
        for member in list(self._connecting):
            if member.stage is not Stage.CONNECTING:
                self._connecting.discard(member)
            elif member.hears(whom):
                self._link.send(Packet(member.client.number, payload))

    def _alone(self, room: Any, namespace: str) -> Member | None:
        """The own socket that `room` names, if it can be sent to directly: the service then need not
        look for it."""
        if room.__class__ is not str:
            return None
        member = self.members.get(room, namespace)
        if member is None or member.client.gone or member.stage is Stage.LEAVING:
            return None
        return member

    def _emit_asking(
        self, arguments: list[Any], namespace: str, room: Any, skip: Any, callback: Callback, flags: int
    ) -> None:
        member = self._alone(room, namespace) if skip is None else None
        if member is not None:
            handling = self._waits.begin()
            ack_id = member.expect(partial(self._answer, handling, callback))
            try:
                payload = self._codec.event(namespace, arguments, ack_id)
                self._link.send(Packet(member.client.number, payload))
            except BaseException:
                # What cannot be sent will not be answered.
                member.answered(ack_id)
                self._waits.end(handling)
                raise
            return
        if self._link.left:
            return
        payload = self._codec.event(namespace, arguments)
        to = target(namespace, room, skip)
        timeout = int(CALLBACK_SECONDS * 1000)
        answers = _Callbacks(self, callback, self._waits)
        self._link.ask(
            lambda ref: Ask(ref, to, flags, timeout, payload), answers, CALLBACK_SECONDS + ANSWER_SECONDS
        )
        answers.handling = self._waits.begin()

    async def trigger_callback(self, sid: str, id: int, data: list[Any]) -> None:
        """An ACK of an own socket, by way of the library."""
        member = self.members.by_id.get(sid)
        if member is not None:
            self.answered(member, id, data)

    def answered(self, member: Member, ack_id: int | None, arguments: list[Any]) -> None:
        """An ACK of an own socket."""
        answer = member.answered(ack_id)
        if answer is not None:
            answer(arguments)

    def _answer(self, handling: Handling, callback: Callback, arguments: list[Any]) -> None:
        self._waits.end(handling)
        self.call_back(callback, arguments)

    def answered_elsewhere(self, frame: Answer, callback: Callback) -> None:
        """An ACK of any app server's socket."""
        try:
            arguments = self._codec.arguments(frame.payload)
        except ValueError:
            _log.warning("the ack of %s cannot be read", frame.sender)
        else:
            self.call_back(callback, arguments)

    def call_back(self, callback: Callback, arguments: list[Any]) -> None:
        """Never waits for a callback, and never fails with it."""
        try:
            result = callback(*arguments)
        except (Exception, asyncio.CancelledError):
            _log.exception("the callback of an emit failed")
            return
        if inspect.isawaitable(result):
            task = asyncio.ensure_future(_guarded(result))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    # -- rooms ----------------------------------------------------------------------------------------

    async def enter_room(self, sid: str, namespace: str, room: Any, eio_sid: str | None = None) -> None:
        """Done when it is in effect for every later emit of every app server. As with the library's Redis
        manager nothing happens where no app server has the socket."""
        if sid != room and self.members.is_private(namespace, room):
            raise ValueError("cannot enter a sid room")
        member = self.members.get(sid, namespace)
        if member is None:
            rooms = room_names([room])
            if isinstance(sid, str):
                await self._of_one(sid, namespace, lambda ref, to: Join(ref, to, rooms))
            return
        client = member.client.number
        undo = self._undo(member, room)
        names = self.members.enter(member, [room])
        # The service learns a socket's id from the answer to its CONNECT. Rooms that it enters before
        # bring emits before, and these may be meant to skip it.
        sent = names
        if member.stage is Stage.CONNECTING:
            sent, member.entered = (sid, *names), True
        await self._change(member, names, lambda ref: Enter(ref, client, namespace, sent), undo)
        self.basic_enter_room(sid, namespace, room)

    async def leave_room(self, sid: str, namespace: str, room: Any) -> None:
        """As `enter_room`; leaving a room that the socket is not in is no error."""
        member = self.members.get(sid, namespace)
        if member is None:
            rooms = room_names([room])
            if isinstance(sid, str):
                await self._of_one(sid, namespace, lambda ref, to: Leave(ref, to, rooms))
            return
        client = member.client.number
        undo = self._undo(member, room)
        names = self.members.leave(member, [room])
        await self._change(member, names, lambda ref: Exit(ref, client, namespace, names), undo)
        self.basic_leave_room(sid, namespace, room)

    def basic_enter_room(self, sid: str, namespace: str, room: Any, eio_sid: str | None = None) -> None:
        """Where `sio.instrument()` hooks in. What there is to do is done."""

    def basic_leave_room(self, sid: str, namespace: str, room: Any) -> None:
        """As `basic_enter_room`."""

    async def close_room(self, room: Any, namespace: str) -> None:
        """All sockets of all app servers leave it."""
        if self.members.is_private(namespace, room):
            raise ValueError("cannot close a sid room")
        names = room_names([room])
        inside = [self.members.by_id[sid] for sid, _ in self.members.inside(namespace, names)]
        whom = target(namespace, room, None)
        for member in inside:
            self.members.leave(member, names)
        try:
            await self.request(lambda ref: Leave(ref, whom, names))
        except (RequestTimeout, SessionLost):
            raise
        except Exception:
            for member in inside:
                self.members.enter(member, [room])
            raise

    def _undo(self, member: Member, room: Any) -> Callable[[], object]:
        """Brings back what is now, should a change not be made."""
        back = self.members.enter if room_name(room) in member.rooms else self.members.leave
        return lambda: back(member, [room])

    async def _change(
        self,
        member: Member,
        names: tuple[str, ...],
        make: Callable[[int], FromApp],
        undo: Callable[[], object],
    ) -> None:
        if member.client.gone or member.stage is Stage.LEAVING:
            # The service has let go of it: only the handlers of its end still look at its rooms.
            return
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        try:
            self._link.ask(make, Change(self.members, member, names, undo, done), ANSWER_SECONDS)
        except BaseException:
            undo()  # it never left
            raise
        self.members.begin(member, names)
        handling = self._waits.begin()
        try:
            await done
        except LinkClosed:
            if not self._link.left:
                raise
        finally:
            self._waits.end(handling)

    async def _of_one(self, sid: str, namespace: str, make: Callable[[int, To], FromApp]) -> Done:
        whom = target(namespace, sid, None)
        return await self.request(lambda ref: make(ref, whom))

    async def request(self, make: Callable[[int], FromApp]) -> Done:
        """Ask for something that is done at once. Raises what `Link.request` does. After `close`
        nothing happens, and the count is 0."""
        try:
            end = await self.ask(make, timeout=ANSWER_SECONDS)
        except LinkClosed:
            if self._link.left:
                return Done(0, 0)
            raise
        assert isinstance(end, Done)
        return end

    async def ask(
        self, make: Callable[[int], FromApp], *, timeout: float, part: Callable[[Part], None] | None = None
    ) -> End:
        """`Link.request`, during which the handler that asks counts as one that waits."""
        handling = self._waits.begin()
        try:
            return await self._link.request(make, timeout=timeout, part=part)
        finally:
            self._waits.end(handling)

    def get_rooms(self, sid: str, namespace: str) -> list[Any]:
        """Of an own socket; none for others."""
        member = self.members.get(sid, namespace)
        return [] if member is None else self.members.rooms_of(member)

    def get_participants(self, namespace: str, room: Any) -> Iterator[tuple[str, str]]:
        """Own sockets only, as with every manager of the library."""
        return self.members.inside(namespace, room)

    # -- life of a socket -------------------------------------------------------------------------------

    async def pre_connect(self, eio_sid: str, namespace: str) -> str | None:
        """A CONNECT came; None refuses a second one."""
        client = self._find(eio_sid)
        if client is None or client.gone or namespace in client.members:
            return None
        sid: str = self.server.eio.generate_id()
        member = Member(sid, namespace, client, self.auth.get((eio_sid, namespace)))
        self.members.add(member)
        self._connecting.add(member)
        return sid

    async def connect(self, sid: str, namespace: str) -> str | None:
        """The CONNECT was answered."""
        member = self.members.get(sid, namespace)
        if member is not None:
            if member.stage is Stage.CONNECTING:
                member.stage = Stage.CONNECTED
            self._connecting.discard(member)
        return sid

    def pre_disconnect(self, sid: str, namespace: str) -> str | None:
        """Its disconnect handler is about to run."""
        member = self.members.get(sid, namespace)
        if member is None:
            return None
        member.stage = Stage.LEAVING
        return member.client.sid

    async def disconnect(self, sid: str, namespace: str, **ignored: Any) -> None:
        """It is gone."""
        member = self.members.get(sid, namespace)
        if member is not None:
            self.remove(member)

    def remove(self, member: Member) -> None:
        """It is gone, or was refused."""
        self.members.remove(member)
        self._connecting.discard(member)

    async def can_disconnect(self, sid: Any, namespace: str) -> bool:
        """Always False, since what there is to do is done here. For an own socket, too: the library would
        never be rid of one whose `disconnect` handler raises."""
        member = self.members.get(sid, namespace)
        if member is None:
            if isinstance(sid, str) and sid:
                await self._of_one(sid, namespace, lambda ref, to: Disconnect(ref, to, False))
        elif member.stage is Stage.CONNECTED:
            if not member.client.gone:
                self._link.send(Packet(member.client.number, disconnect_packet(namespace)))
            member.stage = Stage.LEAVING
            reason = self.server.reason.SERVER_DISCONNECT
            try:
                await self.server._trigger_event("disconnect", namespace, sid, reason)
            finally:
                self.remove(member)
        return False

    def is_connected(self, sid: str, namespace: str) -> bool:
        """CONNECT answered, not on its way out."""
        member = self.members.get(sid, namespace)
        return member is not None and member.stage is Stage.CONNECTED

    def is_pre_connected(self, sid: str, namespace: str) -> bool:
        """CONNECT not answered."""
        member = self.members.get(sid, namespace)
        return member is not None and member.stage is Stage.CONNECTING

    def get_namespaces(self) -> list[str]:
        """Those with own sockets."""
        return list(self.members.rooms)

    def sid_from_eio_sid(self, eio_sid: str, namespace: str) -> str | None:
        """A client's socket in a namespace."""
        client = self._find(eio_sid)
        member = client.members.get(namespace) if client is not None else None
        return None if member is None else member.sid

    def eio_sid_from_sid(self, sid: str, namespace: str) -> str | None:
        """A socket's client."""
        member = self.members.get(sid, namespace)
        return None if member is None else member.client.sid


class _Callbacks:
    """`Answers` of an emit with a callback to sockets elsewhere."""

    def __init__(self, manager: Manager, callback: Callback, waits: Waits) -> None:
        self._manager = manager
        self._callback = callback
        self._waits = waits
        self.handling: Handling = None

    def part(self, frame: Part) -> None:
        if isinstance(frame, Answer):
            self._manager.answered_elsewhere(frame, self._callback)

    def end(self, frame: End) -> None:
        # Who has not answered by now does not: there is nobody to tell.
        self._waits.end(self.handling)

    def failed(self, error: MoorageError) -> None:
        self._waits.end(self.handling)
        _log.warning("acks of an emit are lost: %s", error)


async def _guarded(call: Awaitable[object]) -> None:
    try:
        await call
    except Exception:
        _log.exception("the callback of an emit failed")


def arguments_of(data: Any) -> list[Any]:
    """What python-socketio makes of the `data` of an emit: a tuple is several arguments."""
    if isinstance(data, tuple):
        return list(data)
    return [] if data is None else [data]


def target(namespace: str, rooms: Any, excluded: Any) -> To:
    """Whom an emit goes to: None is everybody, an empty collection nobody. Raises `UsageError`."""
    if not isinstance(namespace, str):
        # It would be a frame that cannot be read, and so the end of the session.
        raise UsageError(f"a namespace must be a str, not {type(namespace).__name__}")
    names = room_names(rooms) if rooms is None or rooms else (_NOBODY,)
    return To(namespace, names, room_names(excluded or None))
