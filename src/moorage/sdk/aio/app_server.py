"""`use_moorage`: an asynchronous `socketio` server whose clients connect to Moorage."""

from __future__ import annotations

import asyncio
import inspect
import logging
import secrets
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self, TypeVar

import socketio

from moorage.sdk.aio.dispatch import Dispatcher
from moorage.sdk.aio.engine import Engine
from moorage.sdk.aio.events import Events, Waits
from moorage.sdk.aio.fleet import Fleet
from moorage.sdk.aio.manager import Manager
from moorage.sdk.aio.server_events import AioServerEvents
from moorage.sdk.app_server import HANDLER_SECONDS, AppServerBase, check
from moorage.sdk.errors import MoorageError, UsageError
from moorage.sdk.exchange.answers import Acks, AppServer, FetchedSockets
from moorage.sdk.exchange.calls import Call, flags_of
from moorage.sdk.exchange.handover import HAND_OVER_SECONDS, HandedOver, check_revision, handed_over
from moorage.sdk.exchange.inbox import Inbox
from moorage.sdk.link.options import LinkOptions
from moorage.sdk.link.recovery import recovery_of, warn_if_refused
from moorage.sdk.link.session import MAX_QUEUE_BYTES
from moorage.sdk.link.terms import warn_of_large_messages
from moorage.sdk.sigterm import DelayedSigterm
from moorage.wire.connection_string import check_hub, parse
from moorage.wire.moorage.v1 import Close, HandOver

T = TypeVar("T")

_log = logging.getLogger("moorage.sdk")


async def use_moorage(
    sio: Any,
    *,
    hub: str,
    connection_string: str,
    server_id: str | None = None,
    max_queue_bytes: int = MAX_QUEUE_BYTES,
    wait: bool = False,
    emit_only: bool = False,
    ssl_context: ssl.SSLContext | None = None,
    connection_state_recovery: Mapping[str, Any] | None = None,
) -> Moorage:
    """Hand the clients of `sio`, a `socketio.AsyncServer`, to Moorage. Returns once the link is up.

    Handlers may be registered before or after. `hub` is the hub whose clients this app server gets, and
    `connection_string` names the service. `server_id` must be unique among the hub's app servers; by default
    it is random. When `max_queue_bytes` wait for the service, emits raise `QueueFull`. With `wait`, the call
    tries again while no service answers, instead of raising. An app server with `emit_only`, such as a worker
    or a script, never gets clients. `ssl_context` is for an https endpoint whose authority this machine does
    not know. With `connection_state_recovery`, clients that lose their connection come back to their sockets.
    It is a dict with `max_disconnection_duration` (seconds, 120) and `quiet` (False):
    docs/howto/recover-connections.md.

    Raises `UsageError` for arguments that cannot work, `LinkRefused` and `LinkUnavailable` with a message
    that names cause and fix. After that the link reconnects by itself; see `Moorage.on`."""
    with _failure_logged():
        where, recovery = parse(connection_string), recovery_of(connection_state_recovery)
        check_hub(hub)
        if isinstance(sio, socketio.Server):
            raise UsageError("this is a synchronous socketio.Server: `use_moorage_sync(sio, ...)` is for it")
        if not isinstance(sio, socketio.AsyncServer):
            raise UsageError(f"use_moorage takes a socketio.AsyncServer, not {type(sio).__name__}")
        check(sio, engine=Engine, manager=socketio.AsyncManager, server_id=server_id, function="use_moorage")
        options = LinkOptions(
            max_queue_bytes=max_queue_bytes, emit_only=emit_only, ssl_context=ssl_context, recovery=recovery
        )
        own_id = server_id or secrets.token_urlsafe(12)
        moorage = Moorage(sio, lambda inbox: Fleet(where, hub, own_id, inbox, options))
        try:
            await moorage.link.start(wait=wait)
        except BaseException:
            moorage.detach()
            raise
        warn_of_large_messages(sio.eio, moorage.link.hello)
        warn_if_refused(recovery, moorage.link.hello)
        return moorage


@contextmanager
def _failure_logged() -> Iterator[None]:
    """python-socketio's `ASGIApp` hides what its `on_startup` raises, so the message is logged."""
    try:
        yield
    except MoorageError as error:
        _log.error("use_moorage: %s", error)
        raise


class Moorage(AppServerBase):
    """The link of one `socketio.AsyncServer`, and the server API beyond python-socketio. What it does reaches
    the sockets of all app servers of the hub.

    `to` and `room` everywhere: a room, a socket id, or a collection of them; None is the whole namespace.
    `skip`: sockets and rooms to leave out. Timeouts are in seconds."""

    def __init__(self, sio: Any, make_link: Callable[[Inbox], Fleet]) -> None:
        super().__init__(sio)
        inbox = Inbox(self._tell)
        self.link: Fleet = make_link(inbox)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._engine = Engine(sio.eio, self.link)
        waits = Waits()
        self._manager = Manager(self.link, self._codec, self._engine, waits)
        self._manager.set_server(sio)
        events = Events(sio, self.link, self._codec, waits)
        self._dispatcher = Dispatcher(sio, self._engine, self._manager, self._codec, events)
        self._server_events = AioServerEvents(self.link, self._codec)
        inbox.serve(
            self._dispatcher,
            lambda: self._manager.members,
            told=self._server_events.told,
            query=lambda frame: self.link.send(inbox.facts(frame)),
        )
        self._replace(self._engine, self._manager, inbox)

    # -- the link -------------------------------------------------------------------------------------------

    def _tell(self, name: str, *arguments: Any) -> None:
        for listener in self._listeners[name]:
            try:
                result = listener(*arguments)
            except (Exception, asyncio.CancelledError):
                _log.exception("a listener of %s failed", name)
                continue
            if inspect.isawaitable(result):
                task = asyncio.ensure_future(_logged(result, name))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def hand_over(self) -> HandedOver:
        """Give all clients to other app servers of the hub. They stay connected and notice nothing. The
        `connect` handlers of the other app servers run, with `moorage.handed_over` in the environment.
        Returns when all clients have left, or could not. This app server gets no new clients from now on.
        Raises `UsageError` if the service is too old, and the error that ends the link."""
        check_revision(self.link.hello.revision)
        return handed_over(await self.link.request(HandOver, timeout=HAND_OVER_SECONDS))

    def hand_over_on_sigterm(self) -> None:
        """Call `hand_over` at a SIGTERM from now on, before the signal does what it does otherwise. Raises
        `UsageError` outside the main thread."""
        loop = asyncio.get_running_loop()

        async def hand_over() -> None:
            try:
                await self.hand_over()
            except (MoorageError, UsageError) as error:
                _log.warning("clients are not handed over: %s", error)
            finally:
                sigterm.pass_on()

        def begin() -> None:
            task = loop.create_task(hand_over())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        sigterm = DelayedSigterm(lambda: loop.call_soon_threadsafe(begin))

    async def close(self, drain: float = 0.0) -> None:
        """Leave the hub. For `drain` seconds this app server gets no new clients, and the present ones may
        leave by themselves. Then the service closes them, and they reconnect to other app servers. When this
        returns, the disconnect handlers have run, or had 5 seconds. Idempotent."""
        if not self.link.closed:
            await self.link.drain(drain, lambda: not self._engine.by_number)
        deadline = asyncio.get_running_loop().time() + HANDLER_SECONDS
        if not self.link.closed:
            # Before the link ends, since handlers may emit. The clients reconnect to other app servers.
            for number in self._engine.by_number:
                self.link.send(Close(number))
            await self._settled(deadline)
            await self.link.close()
        if not await self._settled(deadline):
            _log.warning("closed while disconnect handlers were running")
        self.detach()

    async def _settled(self, deadline: float) -> bool:
        """Wait until there are no clients and their handlers have run. Returns False at the deadline."""
        self._dispatcher.all_gone()
        try:
            async with asyncio.timeout_at(deadline):
                await self._dispatcher.settled()
        except TimeoutError:
            return False
        return True

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # -- emits and requests ---------------------------------------------------------------------------------

    async def _do(self, call: Call[T]) -> T:
        return call.result(await self._manager.ask(call.make, timeout=call.seconds, part=call.part))

    async def emit(
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
        await self._manager.emit(event, data, namespace, room=to, skip_sid=skip, flags=flags)

    async def emit_with_acks(
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
        return await self._do(self._calls.emit_with_acks(event, data, to, skip, namespace, timeout))

    async def fetch_sockets(
        self, room: Any = None, *, namespace: str = "/", skip: Any = None, timeout: float = 5.0
    ) -> FetchedSockets:
        """List sockets. The service knows their ids, rooms and handshakes. Their `data` comes from the app
        servers, unless these do not answer in time (see `missing`)."""
        return await self._do(self._calls.fetch_sockets(room, namespace, skip, timeout))

    async def sockets_join(
        self, rooms: Any, *, to: Any = None, namespace: str = "/", skip: Any = None
    ) -> int:
        """Put sockets into `rooms` (one or several). Returns the number of these sockets."""
        return (await self._manager.request(self._calls.join(rooms, to, namespace, skip))).count

    async def sockets_leave(
        self, rooms: Any, *, to: Any = None, namespace: str = "/", skip: Any = None
    ) -> int:
        """Take sockets out of `rooms`. Returns the number of these sockets."""
        return (await self._manager.request(self._calls.leave(rooms, to, namespace, skip))).count

    async def disconnect_sockets(
        self, *, to: Any = None, namespace: str = "/", skip: Any = None, close: bool = False
    ) -> int:
        """Take sockets out of the namespace; `close` ends their connections as well. Returns the number of
        these sockets."""
        return (await self._manager.request(self._calls.disconnect(to, namespace, skip, close))).count

    async def server_side_emit(self, event: str, *args: Any, namespace: str = "/") -> None:
        """Send an event to all other app servers of the hub; see `on_server_event`."""
        self.link.send(self._calls.tell(event, args, namespace))
        if self.link.congested:
            await self.link.drained()

    async def server_side_emit_with_ack(
        self, event: str, *args: Any, namespace: str = "/", timeout: float = 5.0
    ) -> Acks:
        """Send an event to all other app servers, and wait until all have answered or the time is over."""
        return await self._do(self._calls.tell_with_acks(event, args, namespace, timeout))

    async def servers(self) -> list[AppServer]:
        """List the hub's app servers, including this one."""
        return await self._do(self._calls.servers())


async def _logged(call: Any, name: str) -> None:
    try:
        await call
    except Exception:
        _log.exception("a listener of %s failed", name)
