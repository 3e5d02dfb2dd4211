"""Moorage under a synchronous `socketio.Server` in threading mode, and so under Flask-SocketIO.

    sio = socketio.Server(async_mode="threading")
    moorage = use_moorage_sync(sio, hub="app", connection_string=...)

The link has a background thread with an event loop of its own. Handlers run in other threads, as in
python-socketio's threading mode, and so may block; `emit` and all others may be called from any thread.
"""

from __future__ import annotations

import atexit
import logging
import os
import secrets
import ssl
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from functools import partial
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import socketio

from moorage.sdk.app_server import HANDLER_SECONDS, AppServerBase, check
from moorage.sdk.clients.clients import moved_to
from moorage.sdk.errors import MoorageError, UsageError
from moorage.sdk.exchange.answers import Acks, AppServer, FetchedSockets
from moorage.sdk.exchange.calls import Call, flags_of
from moorage.sdk.exchange.handover import HAND_OVER_SECONDS, HandedOver, check_revision, handed_over
from moorage.sdk.link.options import LinkOptions
from moorage.sdk.link.recovery import recovery_of, warn_if_refused
from moorage.sdk.link.session import MAX_QUEUE_BYTES
from moorage.sdk.link.terms import warn_of_large_messages
from moorage.sdk.sigterm import DelayedSigterm
from moorage.sdk.threads.dispatch import ThreadsDispatcher
from moorage.sdk.threads.engine import Engine
from moorage.sdk.threads.inbox import ThreadsInbox
from moorage.sdk.threads.link import ThreadedLink
from moorage.sdk.threads.manager import ThreadsManager
from moorage.sdk.threads.pool import Pool
from moorage.sdk.threads.reloader import before_reloading
from moorage.sdk.threads.server_events import ThreadsServerEvents
from moorage.wire.connection_string import check_hub, parse
from moorage.wire.moorage.v1 import HandOver

THREADS: Final = 128
"""Default of `threads`, the maximum number of handlers that run at the same time."""

T = TypeVar("T")

_log = logging.getLogger("moorage.sdk")


_attached: weakref.WeakSet[ThreadedMoorage] = weakref.WeakSet()


def _after_fork() -> None:
    for moorage in list(_attached):
        moorage.forked()
    _attached.clear()


def _close_all() -> None:
    for moorage in list(_attached):
        _log.info("this process only watches files: it leaves hub %s to the process that serves", moorage.hub)
        moorage.close()


os.register_at_fork(after_in_child=_after_fork)


def use_moorage_sync(
    server: Any,
    *,
    hub: str,
    connection_string: str,
    server_id: str | None = None,
    threads: int = THREADS,
    max_queue_bytes: int = MAX_QUEUE_BYTES,
    wait: bool = False,
    emit_only: bool = False,
    ssl_context: ssl.SSLContext | None = None,
    connection_state_recovery: Mapping[str, Any] | None = None,
) -> ThreadedMoorage:
    """Hand the clients of `server` to Moorage. Returns once the link is up.

    `server` is a `socketio.Server` with `async_mode="threading"`, or a Flask-SocketIO `SocketIO` that has
    its app. `threads` is the maximum number of handlers that run at the same time. All other arguments are
    those of `use_moorage`.

    Raises `UsageError` for arguments that cannot work, `LinkRefused` and `LinkUnavailable` with a message
    that names cause and fix. Call it in the process that serves: threads do not survive a fork."""
    where, recovery = parse(connection_string), recovery_of(connection_state_recovery)
    sio, extra = _server_of(server)
    if isinstance(sio.eio, Engine) and sio.eio.give_back is not None:
        sio.eio.give_back()
    check_hub(hub)
    if sio.async_mode != "threading" and not isinstance(sio.eio, Engine):
        raise UsageError(f'async_mode is {sio.async_mode!r}; Moorage needs async_mode="threading"')
    check(sio, engine=Engine, manager=socketio.Manager, server_id=server_id, function="use_moorage_sync")
    if threads < 1:
        raise UsageError(f"threads must be 1 or more, not {threads}")
    options = LinkOptions(
        max_queue_bytes=max_queue_bytes, emit_only=emit_only, ssl_context=ssl_context, recovery=recovery
    )
    own_id = server_id or secrets.token_urlsafe(12)
    moorage = ThreadedMoorage(
        sio,
        lambda inbox: ThreadedLink(where, hub, own_id, inbox, options),
        threads=threads,
        extra=extra,
        elsewhere=moved_to(where.endpoint, hub),
    )
    moorage.attach(wait=wait)
    warn_if_refused(recovery, moorage.link.hello)
    return moorage


def _server_of(server: Any) -> tuple[Any, dict[str, Any]]:
    """The `socketio.Server`, and additional members for the environments of its clients."""
    if isinstance(server, socketio.Server):
        return server, {}
    # By its names and not by its class: Flask-SocketIO is not ours to depend on.
    if hasattr(server, "server") and hasattr(server, "init_app"):
        if server.server is None:
            raise UsageError("the SocketIO object has no app yet: call init_app before use_moorage_sync")
        middleware = getattr(server, "sockio_mw", None)
        if middleware is None:
            raise UsageError("this SocketIO object has no app, it only writes to a message queue")
        return server.server, {"flask.app": middleware.flask_app}
    if isinstance(server, socketio.AsyncServer):
        raise UsageError("an AsyncServer takes `await use_moorage(...)`")
    raise UsageError(
        f"use_moorage_sync takes a socketio.Server or a Flask-SocketIO object, not {type(server).__name__}"
    )


class ThreadedMoorage(AppServerBase):
    """The link of one `socketio.Server`, and the server API beyond python-socketio. What it does reaches the
    sockets of all app servers of the hub. Every method may be called from any thread.

    `to` and `room` everywhere: a room, a socket id, or a collection of them; None is the whole namespace.
    `skip`: sockets and rooms to leave out. Timeouts are in seconds."""

    def __init__(
        self,
        sio: Any,
        make_link: Callable[[ThreadsInbox], ThreadedLink],
        *,
        threads: int,
        extra: dict[str, Any],
        elsewhere: str,
    ) -> None:
        super().__init__(sio)
        self._pool = Pool(threads)
        self._inbox = ThreadsInbox(self._tell)
        self.link: ThreadedLink = make_link(self._inbox)
        self._engine = Engine(
            sio.eio, transmit=self.link.send, post=self.link.post, pool=self._pool, elsewhere=elsewhere
        )
        self._manager = ThreadsManager(self.link, self._codec, self._engine)
        self._manager.set_server(sio)
        self._dispatcher = ThreadsDispatcher(
            sio,
            self._engine,
            self._manager,
            self._codec,
            extra,
            session=self.link.session_of,
            recovers=self.link.recovers,
        )
        self._server_events = ThreadsServerEvents(self.link, self._codec, self._pool)
        self._inbox.serve_threads(self.link, self._dispatcher, self._manager, self._server_events)
        self._replace(self._engine, self._manager, self._inbox)

    # -- the link -------------------------------------------------------------------------------------------

    def _tell(self, name: str, *arguments: Any) -> None:
        for listener in self._listeners[name]:
            self._pool.submit(partial(listener, *arguments))

    def hand_over(self) -> HandedOver:
        """Give all clients to other app servers of the hub. They stay connected and notice nothing. The
        `connect` handlers of the other app servers run, with `moorage.handed_over` in the environment.
        Returns when all clients have left, or could not. This app server gets no new clients from now on.
        Raises `UsageError` if the service is too old, and the error that ends the link."""
        check_revision(self.link.hello.revision)
        return handed_over(self.link.request(HandOver, seconds=HAND_OVER_SECONDS))

    def hand_over_on_sigterm(self) -> None:
        """Call `hand_over` at a SIGTERM from now on, before the signal does what it does otherwise. Raises
        `UsageError` outside the main thread."""

        def hand_over() -> None:
            try:
                self.hand_over()
            except (MoorageError, UsageError) as error:
                _log.warning("clients are not handed over: %s", error)
            finally:
                sigterm.pass_on()

        sigterm = DelayedSigterm(lambda: threading.Thread(target=hand_over, name="moorage-leave").start())

    def close(self, drain: float = 0.0) -> None:
        """Leave the hub. For `drain` seconds this app server gets no new clients, and the present ones may
        leave by themselves. Then the service closes them, and they reconnect to other app servers. When this
        returns, the disconnect handlers have run, or had 5 seconds. Idempotent."""
        if self.link.left_behind:
            self.detach()
            return
        atexit.unregister(self._at_exit)
        deadline = time.monotonic() + HANDLER_SECONDS
        if not self.link.ended:
            if drain > 0:
                self.link.drain(drain, lambda: not self._engine.by_number)
                deadline = time.monotonic() + HANDLER_SECONDS
            # Before the link ends, because handlers may emit.
            self.link.run(self._let_go)
            self._dispatcher.settled(deadline)
        self.link.close()
        _attached.discard(self)
        self._dispatcher.all_gone()
        if not self._dispatcher.settled(deadline):
            _log.warning("closed while disconnect handlers were running")
        self._stop()
        self.detach()

    def _let_go(self) -> None:
        try:
            self._engine.leave()
        except MoorageError as error:
            _log.debug("clients stay until the link ends: %s", error)
        self._dispatcher.all_gone()

    def _stop(self) -> None:
        self._pool.stop()
        self._inbox.stop()

    def _at_exit(self) -> None:
        # No handlers now: much of what they use does not exist any more.
        self._stop()
        self.link.close()

    def attach(self, *, wait: bool) -> None:
        """Open the link, and make sure that it is closed when the process ends."""
        _attached.add(self)
        try:
            self.link.start(wait=wait)
        except BaseException:
            _attached.discard(self)
            self._stop()
            self.detach()
            raise
        warn_of_large_messages(self._engine, self.link.hello)
        atexit.register(self._at_exit)
        before_reloading(_close_all)

    def forked(self) -> None:
        """Called in a forked child. The clients are the parent's, so emits raise an error until the server is
        linked again."""
        atexit.unregister(self._at_exit)
        self.link.forked()
        self._engine.forked(self.detach)
        self._manager.forked()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- emits and requests ---------------------------------------------------------------------------------

    def _do(self, call: Call[T]) -> T:
        return call.result(self.link.request(call.make, seconds=call.seconds, part=call.part))

    def emit(
        self,
        event: str,
        data: Any = None,
        *,
        to: Any = None,
        skip: Any = None,
        namespace: str = "/",
        volatile: bool = False,
        local: bool = False,
    ) -> None:
        """Emit, as `sio.emit` does. `volatile` leaves out sockets that cannot take the event at once, and all
        sockets while the link is down. `local` reaches only the sockets of this app server."""
        flags = flags_of(volatile=volatile, local=local)
        self._manager.emit(event, data, namespace, room=to, skip_sid=skip, flags=flags)

    def emit_with_acks(
        self,
        event: str,
        data: Any = None,
        *,
        to: Any = None,
        skip: Any = None,
        namespace: str = "/",
        timeout: float = 5.0,
    ) -> Acks:
        """Emit, and wait until all sockets have answered or the time is over."""
        return self._do(self._calls.emit_with_acks(event, data, to, skip, namespace, timeout))

    def fetch_sockets(
        self, room: Any = None, *, namespace: str = "/", skip: Any = None, timeout: float = 5.0
    ) -> FetchedSockets:
        """List sockets. The service knows their ids, rooms and handshakes. Their `data` comes from the app
        servers, unless these do not answer in time (see `missing`)."""
        return self._do(self._calls.fetch_sockets(room, namespace, skip, timeout))

    def sockets_join(self, rooms: Any, *, to: Any = None, namespace: str = "/", skip: Any = None) -> int:
        """Put sockets into `rooms` (one or several). Returns the number of these sockets."""
        return self._manager.request(self._calls.join(rooms, to, namespace, skip)).count

    def sockets_leave(self, rooms: Any, *, to: Any = None, namespace: str = "/", skip: Any = None) -> int:
        """Take sockets out of `rooms`. Returns the number of these sockets."""
        return self._manager.request(self._calls.leave(rooms, to, namespace, skip)).count

    def disconnect_sockets(
        self, *, to: Any = None, namespace: str = "/", skip: Any = None, close: bool = False
    ) -> int:
        """Take sockets out of the namespace; `close` ends their connections as well. Returns the number of
        these sockets."""
        return self._manager.request(self._calls.disconnect(to, namespace, skip, close)).count

    def server_side_emit(self, event: str, *args: Any, namespace: str = "/") -> None:
        """Send an event to all other app servers of the hub; see `on_server_event`."""
        self.link.send(self._calls.tell(event, args, namespace))

    def server_side_emit_with_ack(
        self, event: str, *args: Any, namespace: str = "/", timeout: float = 5.0
    ) -> Acks:
        """Send an event to all other app servers, and wait until all have answered or the time is over."""
        return self._do(self._calls.tell_with_acks(event, args, namespace, timeout))

    def servers(self) -> list[AppServer]:
        """List the hub's app servers, including this one."""
        return self._do(self._calls.servers())
