"""Moorage under a synchronous `socketio.Server` in threading mode, and so under Flask-SocketIO.

    sio = socketio.Server(async_mode="threading")
    moorage = use_moorage_sync(sio, hub="app", connection_string=...)

The link has a background thread with an event loop of its own. Handlers run in other threads, as in
python-socketio's threading mode, and so may block; `emit` and all others may be called from any thread.
"""

from __future__ import annotations

import atexit
import logging
import ssl
from collections.abc import Callable
from typing import Any, Final
from uuid import uuid4

import socketio

from moorage.sdk.connection_string import ConnectionString, check_hub, parse
from moorage.sdk.errors import MoorageError, UsageError
from moorage.sdk.payload import Codec
from moorage.sdk.session import MAX_QUEUE_BYTES, End, Part
from moorage.sdk.threads_engine import Engine
from moorage.sdk.threads_link import ThreadedLink
from moorage.sdk.threads_manager import ThreadsManager
from moorage.sdk.threads_pool import Pool
from moorage.sdk.threads_receiver import ThreadsReceiver
from moorage.wire.tunnel import Answer, Done, Facts, FromApp, Query, Told

THREADS: Final = 128
"""Handlers that run at the same time, at most, unless `threads` says otherwise."""

_log = logging.getLogger("moorage.sdk")


def use_moorage_sync(
    server: Any,
    *,
    hub: str,
    connection_string: str,
    server_id: str | None = None,
    threads: int = THREADS,
    max_queue_bytes: int = MAX_QUEUE_BYTES,
    wait: bool = False,
    ssl_context: ssl.SSLContext | None = None,
) -> ThreadedMoorage:
    """Hands the clients of `server` to Moorage; returns once the link is up.

    `server` is a `socketio.Server` with `async_mode="threading"` or a Flask-SocketIO `SocketIO` that has
    its app. `hub` and `connection_string` say whose clients, and where the service is. `server_id` must
    be unique among the hub's app servers; a random one is right. `threads` is how many handlers may run
    at a time, `max_queue_bytes` what may wait for the service before emits raise `QueueFull`. With `wait`
    a service that is not there yet is waited for.

    Raises `UsageError` for arguments that cannot work, `LinkRefused` and `LinkUnavailable` with a message
    that names cause and fix. Call it in the process that serves: threads do not survive a fork.
    """
    target = parse(connection_string)
    check_hub(hub)
    sio, extra = _server_of(server)
    _check(sio)
    moorage = ThreadedMoorage(sio, hub=hub, threads=threads, extra=extra, elsewhere=_elsewhere(target, hub))
    link = ThreadedLink(
        target,
        hub,
        server_id or uuid4().hex,
        moorage.receiver,
        max_queue_bytes=max_queue_bytes,
        ssl_context=ssl_context,
    )
    moorage.start(link, wait=wait)
    return moorage


def _elsewhere(target: ConnectionString, hub: str) -> str:
    return f"Clients of this server connect to {target.endpoint}, with the path /clients/socketio/hubs/{hub}"


def _server_of(server: Any) -> tuple[Any, dict[str, Any]]:
    """The `socketio.Server`, and what its environments hold besides."""
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
    raise UsageError(f"a socketio.Server or a Flask-SocketIO object is wanted, not {type(server).__name__}")


def _check(sio: Any) -> None:
    if isinstance(sio.eio, Engine):
        raise UsageError("this server is already linked to Moorage")
    if sio.async_mode != "threading":
        raise UsageError(f'async_mode is {sio.async_mode!r}; Moorage needs async_mode="threading"')
    if not sio.packet_class.uses_binary_events:
        raise UsageError("Moorage needs python-socketio's default serializer: clients' packets must be text")
    if type(sio.manager) is not socketio.Manager:
        raise UsageError(
            f"the server has a client_manager ({type(sio.manager).__name__}): leave it out "
            "(message_queue, in Flask-SocketIO), Moorage connects the app servers"
        )


class ThreadedMoorage:
    """What `use_moorage_sync` returns."""

    def __init__(self, sio: Any, *, hub: str, threads: int, extra: dict[str, Any], elsewhere: str) -> None:
        self.sio = sio
        self.hub = hub
        self._link: ThreadedLink | None = None
        self._pool = Pool(threads, f"moorage-{hub}")
        self._originals = (sio.eio, sio.manager)
        self._engine = Engine(sio.eio, transmit=self.send, pool=self._pool, elsewhere=elsewhere)
        self._manager = ThreadsManager(self._engine, self, Codec(sio.packet_class))
        self.receiver = ThreadsReceiver(sio, self._engine, self._manager, self, extra)

    # -- start and end -------------------------------------------------------------------------------

    def start(self, link: ThreadedLink, *, wait: bool) -> None:
        """Put ours in the place of the server's own parts, and open the link."""
        self._link = link
        self.receiver.serve(link)
        self._engine.event_handler = self.sio._handle_event_internal
        self._manager.set_server(self.sio)
        self.sio.eio, self.sio.manager = self._engine, self._manager
        try:
            link.start(wait=wait)
        except BaseException:
            self.sio.eio, self.sio.manager = self._originals
            raise
        atexit.register(self._at_exit)

    def close(self, drain: float = 0.0) -> None:
        """Leave: the clients come back to another app server of the hub, after `drain` seconds in
        which no new ones came. Their `disconnect` handlers run. Idempotent."""
        self._linked.close(drain)
        self._engine.all_closed()
        atexit.unregister(self._at_exit)

    def _at_exit(self) -> None:
        # Handlers may not start any more: much of what they would use is gone.
        self._pool.stop()
        self._linked.close()

    @property
    def _linked(self) -> ThreadedLink:
        assert self._link is not None
        return self._link

    # -- Outlet --------------------------------------------------------------------------------------

    def send(self, frame: FromApp) -> None:
        """See `ThreadedLink.send`."""
        self._linked.send(frame)

    def request(self, make: Callable[[int], FromApp]) -> Done:
        """See `ThreadedLink.request`."""
        end = self._linked.request(make)
        assert isinstance(end, Done)
        return end

    def ask(self, make: Callable[[int], FromApp], answer: Callable[[bytes], None], seconds: float) -> None:
        """See `ThreadsManager.emit`."""
        self._linked.ask(make, _Callbacks(answer), seconds + 5)

    # -- Application ---------------------------------------------------------------------------------

    def queried(self, frame: Query) -> None:
        self.send(Facts(frame.ref, ()))

    def told(self, frame: Told) -> None:
        pass

    def link_event(self, name: str, error: Exception | None) -> None:
        pass


class _Callbacks:
    """`Answers` that come one by one, for whom it does not matter when there are no more."""

    def __init__(self, answer: Callable[[bytes], None]) -> None:
        self._answer = answer

    def part(self, frame: Part) -> None:
        if isinstance(frame, Answer):
            self._answer(frame.payload)

    def end(self, frame: End) -> None:
        pass

    def failed(self, error: MoorageError) -> None:
        _log.warning("No callback will come: %s", error)
