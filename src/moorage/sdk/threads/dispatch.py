"""From a client's packets to the handlers of a synchronous `socketio.Server`, in order.

Frames come on the link's thread, where they are read and ordered; no code of the application runs
there, as one that blocks would hold up every client. What a client's order depends on (its `connect`
and `disconnect` handlers, all its handlers with `async_handlers=False`) runs in the client's queue.
Other events have a thread of the pool each, as python-socketio starts one for each. ACKs wait for
nothing: handlers may be waiting for them.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from moorage.sdk.aio.events import HANDLER_COST, RESERVED
from moorage.sdk.environ import environ_of
from moorage.sdk.idle import IdleCheck
from moorage.sdk.members import Member, Stage
from moorage.sdk.payload import RS, Codec, header_of
from moorage.sdk.threads.engine import Client, Engine
from moorage.sdk.threads.manager import ThreadsManager
from moorage.wire.errors import PeerError
from moorage.wire.moorage.v1 import Close, Closed, Left, Moved, Open, Upgraded
from moorage.wire.socketio import (
    ACK,
    BINARY_ACK,
    BINARY_EVENT,
    CONNECT,
    DISCONNECT,
    EVENT,
    Header,
)

CLIENT_QUEUE: Final = 4 * 1024 * 1024
"""Bytes that may wait in one client's queue. Beyond this the client is closed: its slow handlers must not
hold up the others."""

_log = logging.getLogger("moorage.sdk")


class ThreadsDispatcher:
    """Takes the frames that are about clients."""

    def __init__(
        self,
        sio: Any,
        engine: Engine,
        manager: ThreadsManager,
        codec: Codec,
        extra: dict[str, Any],
        *,
        session: Callable[[], str],
    ) -> None:
        """`session` gives the id of the link's present session."""
        self._sio = sio
        self._engine = engine
        self._manager = manager
        self._codec = codec
        self._session = session
        self._idle = IdleCheck(sio)
        self._extra = {"wsgi.multithread": True, "wsgi.multiprocess": True, "wsgi.async": False, **extra}
        self._lock = threading.Lock()
        self._left = threading.Condition()
        self.pending = 0
        """Bytes of packets whose handlers no thread has begun."""
        self.begun = 0
        """How many packets some thread has begun with."""
        self._causes: Final = {
            "ping timeout": sio.reason.PING_TIMEOUT,
            "transport close": sio.reason.TRANSPORT_CLOSE,
            "server shutting down": sio.reason.TRANSPORT_CLOSE,
            "forced server close": sio.reason.SERVER_DISCONNECT,
        }

    # -- a client's life, on the link's thread --------------------------------------------------------

    def opened(self, frame: Open) -> None:
        """A new client: taken."""
        environ = environ_of(frame) | self._extra
        client = Client(self._engine, self._session(), frame.client, frame.id, environ)
        self._engine.add(client)
        self._idle.client()
        client.jobs.add(lambda: self._engine.handlers["connect"](client.sid, client.environ))

    def closed(self, frame: Closed) -> None:
        """Its connection has ended. What it sent before is handled first."""
        client = self._engine.by_number.pop(frame.client, None)
        if client is not None:
            self._gone(client, self._causes.get(frame.cause, self._sio.reason.TRANSPORT_ERROR))

    def all_gone(self) -> None:
        """The session is over, and all its clients with it."""
        for client in self._engine.forget_all():
            self._gone(client, self._sio.reason.TRANSPORT_CLOSE)

    def left(self, frame: Left) -> None:
        """Another app server, or the REST API, has disconnected one of its sockets."""
        client = self._engine.by_number.get(frame.client)
        if client is not None:
            reason = self._sio.reason.SERVER_DISCONNECT
            client.jobs.add(partial(self._end_socket, client, frame.namespace, reason))

    def upgraded(self, frame: Upgraded) -> None:
        """The client has changed its transport."""
        client = self._engine.by_number.get(frame.client)
        if client is not None:
            client.upgraded = frame.transport == "websocket"

    def moved(self, frame: Moved) -> None:
        """Somebody else has changed a socket's rooms."""
        client = self._engine.by_number.get(frame.client)
        member = client.members.get(frame.namespace) if client is not None else None
        if member is not None:
            self._manager.moved(member, frame.joined, frame.rooms)

    def _gone(self, client: Client, reason: str) -> None:
        client.gone = True
        client.jobs.add(partial(self._end_client, client, reason))

    # -- its packets, on the link's thread --------------------------------------------------------------

    def packet(self, number: int, payload: bytes) -> None:
        """Engine.IO packets of a client."""
        client = self._engine.by_number.get(number)
        if client is None or client.closing:
            return
        try:
            for piece in payload.split(RS):
                packet = self._complete(client, piece)
                if packet:
                    self._whole(client, packet)
        except PeerError as error:
            self._bad(client, error.message)
        except ValueError as error:
            self._bad(client, str(error))

    def _complete(self, client: Client, piece: bytes) -> bytes:
        """The packet that `piece` completes: itself, or the event that it is the last attachment of."""
        parts = client.incoming
        if (piece[:1] == b"b") != bool(parts):
            raise ValueError("an attachment where none was due, or none where one was")
        parts.append(piece)
        if len(parts) <= header_of(parts[0]).attachments:
            return b""
        client.incoming = []
        return RS.join(parts)

    def _whole(self, client: Client, packet: bytes) -> None:
        """One packet with its attachments."""
        header = header_of(packet)
        if header.type in (ACK, BINARY_ACK):
            member = client.members.get(header.namespace)
            if member is not None:
                self._manager.answered(client, member, header.id, self._data(packet, header))
        elif header.type in (EVENT, BINARY_EVENT):
            data = self._data(packet, header)
            if not data or not isinstance(data[0], (str, int)) or data[0] in RESERVED:
                raise ValueError(f"no event name: {data[:1]!r:.100}")
            self._event(client, header, data, len(packet) + HANDLER_COST)
        elif header.type == CONNECT:
            self._in_order(client, len(packet), partial(self._connect, client, packet, header))
        elif header.type == DISCONNECT:
            reason = self._sio.reason.CLIENT_DISCONNECT
            self._in_order(client, len(packet), partial(self._end_socket, client, header.namespace, reason))
        else:
            raise ValueError(f"a packet of type {header.type}")

    def _data(self, packet: bytes, header: Header) -> list[Any]:
        """Raises `ValueError`."""
        if header.type in (BINARY_EVENT, BINARY_ACK):
            return self._codec.arguments(packet)
        data = self._codec.loads(memoryview(packet)[header.body :])
        if not isinstance(data, list):
            raise ValueError("no list of arguments")
        return data

    def _event(self, client: Client, header: Header, data: list[Any], size: int) -> None:
        if client.jobs.idle and self._sio.async_handlers:
            self._start(client, header, data, size)
        else:
            self._in_order(client, size, partial(self._start, client, header, data, size))

    def _in_order(self, client: Client, size: int, job: Callable[[], object]) -> None:
        with self._lock:
            # One alone may be larger: it is within the limit of a packet.
            if client.queued and client.queued + size > CLIENT_QUEUE:
                raise ValueError("it sends faster than its handlers take it")
            client.queued += size
            self.pending += size
        client.jobs.add(partial(self._run_in_order, client, size, job))

    def _bad(self, client: Client, why: str) -> None:
        """It broke the protocol: as with Socket.IO's own server, that is its end."""
        _log.info("client %s is closed: %s", client.sid, why)
        client.closing = True
        client.incoming = []
        self._engine.transmit(Close(client.number), client.link_session)

    # -- in queues and in the pool ------------------------------------------------------------------------

    def _run_in_order(self, client: Client, size: int, job: Callable[[], object]) -> None:
        with self._lock:
            self.pending -= size
            self.begun += 1
            client.queued -= size
        job()

    def _start(self, client: Client, header: Header, data: list[Any], size: int) -> None:
        """Run an event's handler: in a thread of its own, or here, if handlers shall not have one."""
        member = client.members.get(header.namespace)
        if member is None or member.stage is not Stage.CONNECTED:
            return  # sent before its disconnect was known there
        if self._sio.async_handlers:
            with self._lock:
                self.pending += size
            self._engine.pool.submit(partial(self._from_pool, size, member, header, data))
        else:
            self._run(member, header, data)

    def _from_pool(self, size: int, member: Member, header: Header, data: list[Any]) -> None:
        with self._lock:
            self.pending -= size
            self.begun += 1
        self._run(member, header, data)

    def _run(self, member: Member, header: Header, data: list[Any]) -> None:
        sio, namespace = self._sio, member.namespace
        try:
            sio._handle_event_internal(sio, member.sid, member.client.sid, data, namespace, header.id)
        except Exception:
            _log.exception("the handler of %.100r in %s failed", data[0], namespace)

    def _connect(self, client: Client, packet: bytes, header: Header) -> None:
        namespace = header.namespace
        key = (client.sid, namespace)
        try:
            body = memoryview(packet)[header.body :]
            self._manager.auth[key] = self._codec.loads(body) if body else None
            self._sio._handle_eio_message(client.sid, packet[1:].decode())
        except BaseException as error:
            if isinstance(error, ValueError) and namespace not in client.members:
                self._bad(client, str(error))
                return
            # python-socketio would leave the client waiting for an answer.
            _log.exception("the connect handler of %s failed", namespace)
            self._refuse(client, namespace)
        finally:
            self._manager.auth.pop(key, None)

    def _refuse(self, client: Client, namespace: str) -> None:
        member = client.members.get(namespace)
        if member is not None and member.stage is Stage.CONNECTING:
            self._manager.remove(member)
            head = "" if namespace == "/" else f"{namespace},"
            self._engine.send(client.sid, f'4{head}{{"message":"Unable to connect"}}')

    def _end_socket(self, client: Client, namespace: str, reason: str) -> None:
        """Run the disconnect handler, and be rid of the socket whatever it does."""
        member = client.members.get(namespace)
        if member is None or not self._manager.claim(member):
            return
        try:
            # `_handle_disconnect` would ask whether the socket is connected; since the claim it is not.
            self._sio._trigger_event("disconnect", namespace, member.sid, reason)
        except BaseException:  # the client's other sockets end as well
            _log.exception("the disconnect handler of %s failed", namespace)
        finally:
            self._manager.remove(member)

    def _end_client(self, client: Client, reason: str) -> None:
        for namespace in list(client.members):
            self._end_socket(client, namespace, reason)
        with self._manager.lock:
            if client.members:
                # Another thread is running a disconnect handler, which wants the session.
                client.when_empty = partial(self._forget, client, reason)
                return
        self._forget(client, reason)

    def _forget(self, client: Client, reason: str) -> None:
        try:
            self._engine.handlers["disconnect"](client.sid, reason)
        finally:
            self._engine.remove(client)
            with self._left:
                self._left.notify_all()

    def settled(self, deadline: float) -> bool:
        """Wait until all clients are gone and their handlers have run, but for one that asks this; False
        if the time was over first."""

        def others_gone() -> bool:
            return all(client.jobs.is_here for client in tuple(self._engine.sockets.values()))

        with self._left:
            return self._left.wait_for(others_gone, max(0.0, deadline - time.monotonic()))
