"""The client manager of a synchronous `socketio.Server`: rooms and emits are the service's matter.

What `manager` is for an AsyncServer, for threads: every method may be called from any of them.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any, Final, Protocol

import socketio
import socketio.packet
import socketio.server

from moorage.sdk.aio.manager import CALLBACK_SECONDS, arguments_of, target
from moorage.sdk.errors import LinkClosed, MoorageError, QueueFull, RequestFailed, TooLarge
from moorage.sdk.members import Callback, Member, Members, Stage, room_names
from moorage.sdk.payload import Codec
from moorage.sdk.session import Answers, End, Part
from moorage.sdk.threads.engine import Client, Engine
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
)

_LIBRARY: Final = socketio.server.__name__

_log = logging.getLogger("moorage.sdk")


class Outlet(Protocol):
    """What a manager needs of a link; see `ThreadedLink`."""

    @property
    def left(self) -> bool:
        """It was closed by this process."""

    def send(self, frame: FromApp, session: str = "") -> None:
        """Queue a frame, for one session if it is named."""

    def post(self, frame: FromApp, session: str = "") -> None:
        """As `send`, without waiting."""

    def wait_for_capacity(self) -> None:
        """Wait as `send` does."""

    def send_volatile(self, frame: FromApp) -> bool:
        """Queue a frame unless it would have to wait."""

    def request(
        self, make: Callable[[int], FromApp], *, session: str = "", ended: Callable[[], None] | None = None
    ) -> End:
        """Send what `make` builds around a number; wait for the end of the answer."""

    def ask(self, make: Callable[[int], FromApp], answers: Answers, seconds: float) -> None:
        """The same without waiting for the answer."""


class Callbacks:
    """`Answers` of an emit with a callback to sockets elsewhere."""

    def __init__(self, answer: Callable[[bytes], None]) -> None:
        self._answer = answer

    def part(self, frame: Part) -> None:
        """An ack, among others."""
        if isinstance(frame, Answer):
            try:
                self._answer(frame.payload)
            except ValueError:
                _log.warning("an ack of %s cannot be read", frame.sender)

    def end(self, frame: End) -> None:
        """Who has not answered by now does not: there is nobody to tell."""

    def failed(self, error: MoorageError) -> None:
        """Nothing more will come."""
        _log.warning("an emit with a callback failed: %s", error)


class ThreadsManager(socketio.Manager):  # type: ignore[misc]  # python-socketio is not annotated
    """Stands in `sio.manager`. `members` is the book-keeping of own sockets, under `lock`."""

    def __init__(self, outlet: Outlet, codec: Codec, engine: Engine) -> None:
        super().__init__()
        self.lock = threading.RLock()
        self.members = Members()
        self.rooms = self.members.rooms
        self._connecting: set[Member] = set()
        """Those that the service does not know as members of their namespace yet."""
        self.auth: dict[tuple[str, str], Any] = {}
        """`auth` of CONNECTs that are being handled, by client and namespace."""
        self._outlet = outlet
        self._codec = codec
        self._engine = engine

    def forked(self) -> None:
        """This is a copy of the process that has the sockets; its lock may be some thread's there."""
        self.lock = threading.RLock()
        self.members = Members()
        self.rooms = self.members.rooms
        self._connecting = set()

    def initialize(self) -> None:
        """The library's first call. Flask-SocketIO's test client makes it, too, after it has put functions of
        its own into the server: its clients are in this process, with the library's own manager."""
        if "_send_packet" in vars(self.server):
            self.server.manager = socketio.Manager()
            self.server.manager.set_server(self.server)

    # -- emits ----------------------------------------------------------------------------------------

    def emit(  # noqa: PLR0917 (the library's signature)
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
            return
        payload = self._codec.event(namespace, arguments)
        frame = Emit(0, target(namespace, room, skip_sid), flags, payload)
        if flags & VOLATILE:
            self._outlet.send_volatile(frame)
            return
        member = self._alone(room, namespace) if not flags and skip_sid is None else None
        if member is not None:
            self._outlet.send(Packet(member.client.number, payload), member.client.link_session)
        elif self._connecting:
            self._emit_while_connecting(frame)
        else:
            self._outlet.send(frame)

    def _emit_while_connecting(self, frame: Emit) -> None:
        """With python-socketio, what a `connect` handler emits to all, or to its own socket among others,
        reaches that as well. The service sends to a socket whose CONNECT was answered before the emit."""
        with self._engine.answering:
            self._outlet.post(frame)
            with self.lock:
                to = [member for member in self._connecting if member.hears(frame.to)]
            for member in to:
                packet = Packet(member.client.number, frame.payload)
                self._outlet.post(packet, member.client.link_session)
        self._outlet.wait_for_capacity()

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
            with self.lock:
                ack_id = member.expect(callback)
            try:
                payload = self._codec.event(namespace, arguments, ack_id)
                self._outlet.send(Packet(member.client.number, payload), member.client.link_session)
            except MoorageError:
                member.waiting.pop(ack_id, None)
                raise
            return
        payload = self._codec.event(namespace, arguments)
        to = target(namespace, room, skip)
        timeout = int(CALLBACK_SECONDS * 1000)
        answers = Callbacks(lambda answer: self.call_back(None, callback, self._codec.arguments(answer)))
        self._outlet.ask(lambda ref: Ask(ref, to, flags, timeout, payload), answers, CALLBACK_SECONDS + 5)

    def answered(self, client: Client, member: Member, ack_id: int | None, arguments: list[Any]) -> None:
        """An ACK of an own socket. One that nobody waits for is dropped: it may be late, or made up."""
        callback = member.waiting.pop(ack_id, None) if ack_id is not None else None
        if callback is not None:
            self.call_back(client, callback, arguments)

    def call_back(self, client: Client | None, callback: Callback, arguments: list[Any]) -> None:
        """On the link's thread, where no code of the application may run: a callback runs in its
        client's queue, or in the pool."""
        if getattr(callback, "__module__", None) == _LIBRARY:
            # Of `call`: it only sets an event. If that needed a thread of the pool, `call` would hang
            # once all of them wait in one.
            callback(*arguments)
        elif client is not None:
            client.jobs.add(partial(callback, *arguments))
        else:
            self._engine.pool.submit(partial(callback, *arguments))

    # -- rooms ----------------------------------------------------------------------------------------

    def enter_room(self, sid: str, namespace: str, room: Any, eio_sid: str | None = None) -> None:
        """Done when it is in effect for every later emit of every app server. As with the library's Redis
        manager nothing happens where no app server has the socket."""
        with self.lock:
            if sid != room and self.members.is_private(namespace, room):
                raise ValueError("cannot enter a sid room")
            member = self.members.get(sid, namespace)
            names = room_names([room]) if member is None else self.members.enter(member, [room])
            going = member is not None and self._begin(member, names)
            # The service learns a socket's id from the answer to its CONNECT. Rooms that it enters
            # before bring emits before, and these may be meant to skip it.
            known = member is None or member.stage is Stage.CONNECTED
            if member is not None and not known:
                member.entered = True
        if member is None:
            if isinstance(sid, str):
                self.request(lambda ref: Join(ref, target(namespace, sid, None), names))
            return
        if going:
            client, sent = member.client.number, names if known else (sid, *names)
            self._change(
                member,
                names,
                lambda ref: Enter(ref, client, namespace, sent),
                lambda: self.members.leave(member, names),
            )
        self.basic_enter_room(sid, namespace, room)

    def leave_room(self, sid: str, namespace: str, room: Any) -> None:
        """As `enter_room`; leaving a room that the socket is not in is no error."""
        with self.lock:
            member = self.members.get(sid, namespace)
            names = room_names([room]) if member is None else self.members.leave(member, [room])
            going = member is not None and self._begin(member, names)
        if member is None:
            if isinstance(sid, str):
                self.request(lambda ref: Leave(ref, target(namespace, sid, None), names))
            return
        if going:
            client = member.client.number
            self._change(
                member,
                names,
                lambda ref: Exit(ref, client, namespace, names),
                lambda: self.members.enter(member, names),
            )
        self.basic_leave_room(sid, namespace, room)

    def basic_enter_room(self, sid: str, namespace: str, room: Any, eio_sid: str | None = None) -> None:
        """Where `sio.instrument()` hooks in. What there is to do is done."""

    def basic_leave_room(self, sid: str, namespace: str, room: Any) -> None:
        """As `basic_enter_room`."""

    def close_room(self, room: Any, namespace: str) -> None:
        """All sockets of all app servers leave it."""
        names = room_names([room])
        with self.lock:
            if self.members.is_private(namespace, room):
                raise ValueError("cannot close a sid room")
            for sid, _ in list(self.members.inside(namespace, names)):
                self.members.leave(self.members.by_id[sid], names)
        to = target(namespace, names, None)
        self.request(lambda ref: Leave(ref, to, names))

    def _begin(self, member: Member, names: tuple[str, ...]) -> bool:
        """False where the service has let go of the socket: only the handlers of its end still look
        at its rooms."""
        if member.client.gone or member.stage is Stage.LEAVING:
            return False
        self.members.begin(member, names)
        return True

    def _change(
        self,
        member: Member,
        names: tuple[str, ...],
        make: Callable[[int], FromApp],
        undo: Callable[[], object],
    ) -> None:
        under_way = [names]

        def confirm() -> None:
            with self.lock:
                while under_way:
                    self.members.confirm(member, under_way.pop())

        try:
            # Confirmed where the answer is read: a `Moved` right behind it is news already.
            self._outlet.request(make, session=member.client.link_session, ended=confirm)
        except (RequestFailed, QueueFull, TooLarge):
            with self.lock:
                undo()
            raise
        except LinkClosed:
            if not self._outlet.left:
                raise
        finally:
            confirm()

    def request(self, make: Callable[[int], FromApp]) -> Done:
        """Ask for something that is done at once. Raises what `ThreadedLink.request` does. After `close`
        nothing happens, and the count is 0."""
        try:
            end = self._outlet.request(make)
        except LinkClosed:
            if self._outlet.left:
                return Done(0, 0)
            raise
        assert isinstance(end, Done)
        return end

    def moved(self, member: Member, joined: bool, names: Iterable[str]) -> None:
        """Somebody else has changed an own socket's rooms."""
        with self.lock:
            if self.members.by_id.get(member.sid) is member:
                self.members.moved(member, joined, names)

    def get_rooms(self, sid: str, namespace: str) -> list[Any]:
        """Of an own socket; none for others."""
        with self.lock:
            member = self.members.get(sid, namespace)
            return [] if member is None else self.members.rooms_of(member)

    def get_participants(self, namespace: str, room: Any) -> Iterator[tuple[str, str]]:
        """Own sockets only, as with every manager of the library."""
        with self.lock:
            return iter(list(self.members.inside(namespace, room)))

    # -- life of a socket -------------------------------------------------------------------------------

    def pre_connect(self, eio_sid: str, namespace: str) -> str | None:
        """A CONNECT came; None refuses a second one."""
        client = self._engine.sockets.get(eio_sid)
        with self.lock:
            if client is None or client.gone or namespace in client.members:
                return None
            sid: str = self.server.eio.generate_id()
            member = Member(sid, namespace, client, self.auth.get((eio_sid, namespace)))
            self.members.add(member)
            self._connecting.add(member)
        return sid

    def connect(self, sid: str, namespace: str) -> str | None:
        """The CONNECT was answered."""
        with self.lock:
            member = self.members.get(sid, namespace)
            if member is not None:
                if member.stage is Stage.CONNECTING:
                    member.stage = Stage.CONNECTED
                self._connecting.discard(member)
        return sid

    def claim(self, member: Member) -> bool:
        """True for the one thread that is to tell the application of the socket's end."""
        with self.lock:
            if member.stage is not Stage.CONNECTED:
                return False
            member.stage = Stage.LEAVING
            return True

    def remove(self, member: Member) -> None:
        """The application has been told."""
        client = self._engine.sockets.get(member.client.sid)
        with self.lock:
            self.members.remove(member)
            self._connecting.discard(member)
            if client is None or client.members or client.when_empty is None:
                return
            job, client.when_empty = client.when_empty, None
        client.jobs.add(job)

    def can_disconnect(self, sid: str, namespace: str) -> bool:
        """Does it, and says no: an own socket's end is told here, for the library would keep the socket
        where its handler fails. Any other is disconnected by the service."""
        member = self.members.get(sid, namespace)
        if member is None:
            to = target(namespace, sid, None)
            self.request(lambda ref: Disconnect(ref, to, False))
        elif self.claim(member):
            sio = self.server
            packet = sio.packet_class(socketio.packet.DISCONNECT, namespace=namespace)
            with ExitStack() as ending:  # whatever fails on the way
                ending.callback(self.remove, member)
                ending.callback(
                    sio._trigger_event, "disconnect", namespace, sid, sio.reason.SERVER_DISCONNECT
                )
                sio._send_packet(member.client.sid, packet)
        return False

    def pre_disconnect(self, sid: str, namespace: str) -> str | None:
        """Its disconnect handler is about to run."""
        member = self.members.get(sid, namespace)
        if member is None:
            return None
        member.stage = Stage.LEAVING
        return member.client.sid

    def disconnect(self, sid: str, namespace: str, **ignored: Any) -> None:
        """It is gone."""
        member = self.members.get(sid, namespace)
        if member is not None:
            self.remove(member)

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
        with self.lock:
            return list(self.members.rooms)

    def sid_from_eio_sid(self, eio_sid: str, namespace: str) -> str | None:
        """A client's socket in a namespace."""
        client = self._engine.sockets.get(eio_sid)
        member = client.members.get(namespace) if client is not None else None
        return None if member is None else member.sid

    def eio_sid_from_sid(self, sid: str, namespace: str) -> str | None:
        """A socket's client."""
        member = self.members.get(sid, namespace)
        return None if member is None else member.client.sid
