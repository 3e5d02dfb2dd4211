"""Runs the handlers of clients' packets in threads, in order.

Frames come on the link's thread. It reads packets and orders them, but runs no code of the application, since
a handler that blocks would hold up all clients. Ordered handlers run in the client's queue; each other event
has a thread of the pool, as python-socketio starts a thread for each."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import socketio

from moorage.sdk.clients.environ import environ_of
from moorage.sdk.clients.members import Member, Parting, Stage
from moorage.sdk.clients.packets import Ack, Connect, Event, refusal
from moorage.sdk.errors import MoorageError
from moorage.sdk.exchange.dispatch import CLIENT_QUEUE, HANDLER_COST, ClientDispatcher
from moorage.sdk.payload import Codec
from moorage.sdk.threads.engine import Engine, ThreadsClient
from moorage.sdk.threads.manager import ThreadsManager
from moorage.wire.moorage.v1 import FromApp, Open, Trace

_log = logging.getLogger("moorage.sdk")


class ThreadsDispatcher(ClientDispatcher[ThreadsClient]):
    """Handles the frames that are about clients. `session` returns the session of a client's number,
    `recovers` whether its node keeps sockets whose client may come back."""

    def __init__(
        self,
        sio: Any,
        engine: Engine,
        manager: ThreadsManager,
        codec: Codec,
        extra: dict[str, Any],
        *,
        session: Callable[[int], str],
        recovers: Callable[[int], bool],
    ) -> None:
        super().__init__(sio, engine, manager, codec)
        self._engine = engine
        self._manager: ThreadsManager = manager
        self._session = session
        self._recovers = recovers
        self._extra = {"wsgi.multithread": True, "wsgi.multiprocess": True, "wsgi.async": False, **extra}
        self._lock = threading.Lock()
        self._left = threading.Condition()
        self.pending = 0
        """Bytes of packets whose handlers no thread has begun."""
        self.begun = 0
        """Number of packets whose handlers a thread has begun."""

    def _make(self, frame: Open) -> ThreadsClient:
        environ = environ_of(frame) | self._extra
        return ThreadsClient(self._engine, self._session(frame.client), frame.client, frame.id, environ)

    def _transmit(self, client: ThreadsClient, frame: FromApp) -> None:
        self._engine.transmit(frame, client.link_session)

    def _is_running(self, client: ThreadsClient) -> bool:
        return client.running > 0

    def _may_leave(self, client: ThreadsClient) -> bool:
        with self._lock:
            return super()._may_leave(client)

    def _late_ack(self, member: Member, ack: Ack) -> None:
        client = member.client
        assert isinstance(client, ThreadsClient)
        self._manager.answered(client, member, ack.id, ack.data)

    def _arrive(self, client: ThreadsClient, member: Member) -> None:
        sio, place = self._sio, ("connect", member.namespace, member.sid)
        environ = client.environ
        try:
            if member.auth:
                accepted = sio._trigger_event(*place, environ, member.auth)
            else:
                try:
                    accepted = sio._trigger_event(*place, environ)
                except TypeError:
                    accepted = sio._trigger_event(*place, environ, None)
        except socketio.exceptions.ConnectionRefusedError:
            accepted = False
        except BaseException:
            _log.exception("the connect handler of %s failed", member.namespace)
            accepted = False
        if accepted is False:
            self._refuse(client, member, failed=True, answered=True)

    # -- packets, on the link's thread ----------------------------------------------------------------------

    def _packet(self, client: ThreadsClient, packet: bytes) -> None:
        plan = self._reader.read(packet)
        size = len(packet)
        if type(plan) is Event:
            trace, client.trace = client.trace, None
            size += HANDLER_COST
            if client.jobs.idle and self._sio.async_handlers:
                self._start(client, plan, size, trace)
            else:
                self._queue(client, size, partial(self._start, client, plan, size, trace))
        elif isinstance(plan, Ack):
            member = client.members.get(plan.namespace)
            if member is not None:
                self._manager.answered(client, member, plan.id, plan.data)
        elif isinstance(plan, Connect):
            self._queue(client, size, partial(self._connect, client, plan))
        else:
            reason = self._sio.reason.CLIENT_DISCONNECT
            self._queue(client, size, partial(self._end_socket, client, plan.namespace, reason))

    def _in_order(self, client: ThreadsClient, job: Callable[[], object]) -> None:
        client.jobs.add(job)

    def _queue(self, client: ThreadsClient, size: int, job: Callable[[], object]) -> None:
        with self._lock:
            # A single packet may be larger: it is within the limit of a packet.
            if client.queued and client.queued + size > CLIENT_QUEUE:
                raise ValueError("it sends faster than its handlers take it")
            client.queued += size
            self.pending += size
        client.jobs.add(partial(self._from_queue, client, size, job))

    # -- in the client's queue and in the pool --------------------------------------------------------------

    def _from_queue(self, client: ThreadsClient, size: int, job: Callable[[], object]) -> None:
        with self._lock:
            self.pending -= size
            self.begun += 1
            client.queued -= size
        job()

    def _start(self, client: ThreadsClient, event: Event, size: int, trace: Trace | None) -> None:
        """Run an event's handler: in a thread of its own, or here if the server wants no threads."""
        member = client.members.get(event.namespace)
        if member is None or member.stage is not Stage.CONNECTED:
            # The client sent it before it heard of its disconnect.
            self._unhandled(client, trace)
            return
        if self._sio.async_handlers:
            with self._lock:
                self.pending += size
                client.running += 1
            self._engine.pool.submit(partial(self._from_pool, size, member, event, trace))
        else:
            self._run(member, event, trace)

    def _from_pool(self, size: int, member: Member, event: Event, trace: Trace | None) -> None:
        with self._lock:
            self.pending -= size
            self.begun += 1
        self._run(member, event, trace)
        client = member.client
        assert isinstance(client, ThreadsClient)
        with self._lock:
            client.running -= 1
        if client.parting is not Parting.NO:
            self.handler_ended(client)

    def _run(self, member: Member, event: Event, trace: Trace | None) -> None:
        if trace is None:
            self._handle(member, event)
            return
        client = member.client
        assert isinstance(client, ThreadsClient)
        span = self._span(client, trace, event.data[0], member)
        token = span.enter()
        failure = self._handle(member, event)
        span.leave(token)
        span.end(failure)

    def _handle(self, member: Member, event: Event) -> Exception | None:
        sio, namespace = self._sio, member.namespace
        try:
            sio._handle_event_internal(sio, member.sid, member.client.sid, event.data, namespace, event.id)
        except Exception as error:
            _log.exception("the handler of %.100r in %s failed", event.data[0], namespace)
            return error
        return None

    def _connect(self, client: ThreadsClient, plan: Connect) -> None:
        key, failed = (client.sid, plan.namespace), False
        self._manager.auth[key] = plan.auth
        try:
            self._sio._handle_eio_message(client.sid, plan.text)
        except BaseException as error:
            if isinstance(error, ValueError) and plan.namespace not in client.members:
                self._bad(client, str(error))
                return
            # python-socketio would leave the client waiting for an answer.
            _log.exception("the connect handler of %s failed", plan.namespace)
            failed = True
        finally:
            self._manager.auth.pop(key, None)
        member = client.members.get(plan.namespace)
        self._refuse(client, member, failed=failed, answered=self._sio.always_connect)

    def _refuse(self, client: ThreadsClient, member: Member | None, *, failed: bool, answered: bool) -> None:
        message = refusal(member, failed=failed, always_connect=answered)
        if message is not None and member is not None:
            self._manager.remove(member)
            self._engine.send(client.sid, message)

    def _end_socket(self, client: ThreadsClient, namespace: str, reason: str) -> bool:
        """True if the socket's disconnect handler has run here."""
        member = client.members.get(namespace)
        if member is None or not self._manager.claim(member):
            return False
        try:
            # Not `_handle_disconnect`: it does nothing for a socket that is not connected, as since `claim`.
            self._sio._trigger_event("disconnect", namespace, member.sid, reason)
        except BaseException:  # the client's other sockets end as well
            _log.exception("the disconnect handler of %s failed", namespace)
        finally:
            self._manager.remove(member)
        return True

    def _end_client(self, client: ThreadsClient, reason: str) -> None:
        keeps = client.may_return and self._recovers(client.number)
        for namespace, member in list(client.members.items()):
            if self._end_socket(client, namespace, reason) and keeps:
                self._save(client, member)
        with self._manager.lock:
            if client.members:
                # Another thread is running a disconnect handler, which wants the session.
                client.when_empty = partial(self._forget, client, reason)
                return
        self._forget(client, reason)

    def _save(self, client: ThreadsClient, member: Member) -> None:
        try:
            self._engine.transmit(self._kept(client, member), client.link_session)
        except MoorageError as error:
            _log.error("socket %s cannot be recovered: %s", member.sid, error)

    def _follow(self, client: ThreadsClient, former: ThreadsClient) -> None:
        if not former.jobs.idle:
            client.jobs = former.jobs

    def _forget(self, client: ThreadsClient, reason: str) -> None:
        try:
            self._engine.handlers["disconnect"](client.sid, reason)
        finally:
            self._engine.remove(client)
            with self._left:
                self._left.notify_all()

    def settled(self, deadline: float) -> bool:
        """Wait until all clients are gone and their handlers have run, except the caller's own; False if
        the deadline came first."""

        def others_gone() -> bool:
            return all(client.jobs.is_here for client in tuple(self._engine.sockets.values()))

        with self._left:
            return self._left.wait_for(others_gone, max(0.0, deadline - time.monotonic()))
