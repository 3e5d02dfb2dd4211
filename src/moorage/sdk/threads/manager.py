"""The client manager of a synchronous `Server`: sends what `SocketManager` plans, and waits for answers.
Every method may be called from any thread."""

from __future__ import annotations

import logging
import threading
from contextlib import ExitStack
from functools import partial
from typing import Any, Final

import socketio
import socketio.packet
import socketio.server

from moorage.sdk.clients.members import Callback, Member
from moorage.sdk.errors import LinkClosed, MoorageError, RequestTimeout, SessionLost
from moorage.sdk.exchange.change import Make, RoomChange
from moorage.sdk.exchange.manager import (
    ANSWER_SECONDS,
    CALLBACK_SECONDS,
    AckCallbacks,
    SocketManager,
    Step,
    to_room,
)
from moorage.sdk.exchange.targets import arguments_of, target
from moorage.sdk.payload import Codec
from moorage.sdk.threads.engine import Engine, ThreadsClient
from moorage.sdk.threads.link import ThreadedLink
from moorage.wire.moorage.v1 import VOLATILE, Done, Emit, Packet

_LIBRARY: Final = socketio.server.__name__

_log = logging.getLogger("moorage.sdk")


class ThreadsManager(SocketManager, socketio.Manager):  # type: ignore[misc]  # socketio has no types
    """Stands in `sio.manager`."""

    def __init__(self, link: ThreadedLink, codec: Codec, engine: Engine) -> None:
        super().__init__()
        self._link = link
        self._engine = engine
        self._manage(engine, codec, threading.RLock())

    def forked(self) -> None:
        """Called in a forked child. The sockets belong to the parent, one of whose threads may hold the
        lock."""
        self._manage(self._engine, self._codec, threading.RLock())

    def initialize(self) -> None:
        """The library's first call. Flask-SocketIO's test client makes it, too, after it has put functions of
        its own into the server: its clients are in this process, with the library's own manager."""
        if "_send_packet" in vars(self.server):
            self.server.manager = socketio.Manager()
            self.server.manager.set_server(self.server)

    # -- emits ----------------------------------------------------------------------------------------------

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
        """Raises `NotSerialisable`, `TooLarge`, `QueueFull` and the error that ended the link. Waits while
        the queue is long."""
        if callback is not None:
            arguments = [event, *arguments_of(data)]
            self._emit_asking(arguments, namespace, to or room, skip_sid, callback, flags)
            return
        frame, session = self.plan_emit(event, data, namespace, to or room, skip_sid, flags)
        if flags & VOLATILE:
            self._link.send_volatile(frame)
        elif self.connecting and isinstance(frame, Emit):
            self._emit_while_connecting(frame)
        elif isinstance(frame, Packet):
            client = self._engine.by_number.get(frame.client)
            if not self._link.send_unless_moving(client, frame, session):
                self._link.send(Emit(0, target(namespace, room, None), 0, frame.payload))
        else:
            self._link.send(frame, session)

    def _emit_while_connecting(self, frame: Emit) -> None:
        # The service sends it to a socket whose CONNECT was answered before; all others are in `also_to`.
        with self._engine.answering:
            self._link.post(frame)
            for member in self.also_to(frame.to):
                packet = Packet(member.client.number, frame.payload)
                self._link.post(packet, member.client.link_session)
        self._link.wait_for_capacity()

    def _emit_asking(
        self, arguments: list[Any], namespace: str, room: Any, skip: Any, callback: Callback, flags: int
    ) -> None:
        member = self.reachable(room, namespace) if skip is None else None
        planned = None if member is None else self.packet_with_ack(member, namespace, arguments, callback)
        if member is None or planned is None:
            make = self.ask_with_ack(namespace, arguments, room, skip, flags)
            answers = AckCallbacks(self._codec, partial(self.call_back, None, callback))
            self._link.ask(make, answers, CALLBACK_SECONDS + ANSWER_SECONDS)
            return
        packet, ack_id = planned
        client = member.client
        try:
            if not self._link.send_unless_moving(client, packet, client.link_session):
                # The service knows that this ack is for this app server.
                self._link.send(to_room(member, packet.payload))
        except MoorageError:
            member.answered(ack_id)
            raise

    def answered(
        self, client: ThreadsClient, member: Member, ack_id: int | None, arguments: list[Any]
    ) -> None:
        """An ACK for an own socket has arrived."""
        callback = member.answered(ack_id)
        if callback is not None:
            self.call_back(client, callback, arguments)

    def call_back(self, client: ThreadsClient | None, callback: Callback, arguments: list[Any]) -> None:
        """Called on the link's thread, which runs no code of the application: a callback runs in its
        client's queue, or in the pool."""
        if getattr(callback, "__module__", None) == _LIBRARY:
            # `call` has made it, and it only sets an event. In the pool it could wait for ever: all
            # threads may be waiting in `call`.
            callback(*arguments)
        elif client is not None:
            client.jobs.add(partial(callback, *arguments))
        else:
            self._engine.pool.submit(partial(callback, *arguments))

    # -- rooms ----------------------------------------------------------------------------------------------

    def enter_room(self, sid: str, namespace: str, room: Any, eio_sid: str | None = None) -> None:
        """Put the socket into the room. When this returns, every later emit of every app server reaches it
        there."""
        if self._carry_out(self.plan_enter(sid, namespace, room), sid, namespace):
            self.basic_enter_room(sid, namespace, room)

    def leave_room(self, sid: str, namespace: str, room: Any) -> None:
        """Take the socket out of the room. It is no error if the socket is not in the room."""
        if self._carry_out(self.plan_leave(sid, namespace, room), sid, namespace):
            self.basic_leave_room(sid, namespace, room)

    def close_room(self, room: Any, namespace: str) -> None:
        """Take all sockets of all app servers out of the room."""
        make, undo = self.plan_close(room, namespace)
        try:
            self.request(make)
        except (RequestTimeout, SessionLost):
            raise
        except Exception:
            undo()
            raise

    def _carry_out(self, step: Step, sid: str, namespace: str) -> bool:
        """True for an own socket."""
        if isinstance(step, RoomChange):
            self._change(step)
            return True
        if step is not None:
            self.request(step)
            return False
        return self.members.get(sid, namespace) is not None

    def _change(self, change: RoomChange) -> None:
        try:
            session = change.member.client.link_session
            self._link.request(change.make, session=session, ended=change.ended)
        except LinkClosed:
            if not self._link.left:
                raise
        finally:
            change.abandon()

    def request(self, make: Make) -> Done:
        """Send a request that the service answers at once. Raises the errors of `ThreadedLink.request`. After
        `close` nothing happens, and the count is 0."""
        try:
            end = self._link.request(make)
        except LinkClosed:
            if self._link.left:
                return Done(0, 0)
            raise
        assert isinstance(end, Done)
        return end

    # -- life of a socket -----------------------------------------------------------------------------------

    def pre_connect(self, eio_sid: str, namespace: str) -> str | None:
        """A CONNECT came; None refuses a second one."""
        return self.add_socket(eio_sid, namespace)

    def connect(self, sid: str, namespace: str) -> str | None:
        """The CONNECT was answered."""
        self.connected(sid, namespace)
        return sid

    def disconnect(self, sid: str, namespace: str, **ignored: Any) -> None:
        """The socket is gone."""
        member = self.members.get(sid, namespace)
        if member is not None:
            self.remove(member)

    def remove(self, member: Member) -> None:
        """As `SocketManager.remove`. After its last socket a client that is gone can be forgotten."""
        client = self._engine.sockets.get(member.client.sid)
        with self.lock:
            super().remove(member)
            if client is None or client.members or client.when_empty is None:
                return
            job, client.when_empty = client.when_empty, None
        client.jobs.add(job)

    # A client may act on the answer to its CONNECT before the thread that has sent the answer notes that the
    # socket is connected. These methods therefore wait for that note.

    def claim(self, member: Member) -> bool:
        """As `SocketManager.claim`."""
        with self._engine.answering:
            return super().claim(member)

    def is_connected(self, sid: str, namespace: str) -> bool:
        """As `SocketManager.is_connected`."""
        if super().is_pre_connected(sid, namespace):
            with self._engine.answering:
                return super().is_connected(sid, namespace)
        return super().is_connected(sid, namespace)

    def is_pre_connected(self, sid: str, namespace: str) -> bool:
        """As `SocketManager.is_pre_connected`."""
        if super().is_pre_connected(sid, namespace):
            with self._engine.answering:
                return super().is_pre_connected(sid, namespace)
        return False

    def can_disconnect(self, sid: Any, namespace: str) -> bool:
        """Disconnects the socket and returns False, so that the library does nothing more: it would keep an
        own socket whose `disconnect` handler raises. The service disconnects the sockets of other app
        servers."""
        member = self.staying(sid, namespace)
        if member is None:
            make = self.disconnect_elsewhere(sid, namespace)
            if make is not None:
                self.request(make)
        elif self.claim(member):
            sio = self.server
            with ExitStack() as ending:  # the later steps run even if an earlier one fails
                ending.callback(self.remove, member)
                ending.callback(
                    sio._trigger_event, "disconnect", namespace, sid, sio.reason.SERVER_DISCONNECT
                )
                self._send_end(member)
        return False

    def _send_end(self, member: Member) -> None:
        client, sio = member.client, self.server
        if not client.gone:
            sio._send_packet(
                client.sid, sio.packet_class(socketio.packet.DISCONNECT, namespace=member.namespace)
            )
        elif client.may_return and self._link.recovers(client.number):
            self._link.send(self.dismissal(member))
