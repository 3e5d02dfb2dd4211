"""`use_moorage`: an asynchronous `socketio` server whose clients connect to Moorage."""

from __future__ import annotations

import asyncio
import inspect
import logging
import secrets
import ssl
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, Self, TypeVar, overload

import socketio

from moorage.sdk.aio.dispatch import Dispatcher
from moorage.sdk.aio.engine import Engine
from moorage.sdk.aio.events import Events, Waits
from moorage.sdk.aio.inbox import Inbox
from moorage.sdk.aio.link import Link
from moorage.sdk.aio.manager import ANSWER_SECONDS, Manager, arguments_of, target
from moorage.sdk.aio.server_events import HandlerT, ServerEvents
from moorage.sdk.answers import AckCollector, Acks, AppServer, FetchedSockets, SocketCollector
from moorage.sdk.connection_string import check_hub, parse
from moorage.sdk.errors import UsageError
from moorage.sdk.facts import facts_json
from moorage.sdk.instrumented import carry_over
from moorage.sdk.members import room_names
from moorage.sdk.payload import Codec
from moorage.sdk.session import MAX_QUEUE_BYTES
from moorage.sdk.supported import check_version, warn_of_origins
from moorage.sdk.terms import warn_of_large_messages
from moorage.wire.moorage.v1 import (
    LOCAL,
    VOLATILE,
    Ask,
    Disconnect,
    Done,
    Fetch,
    Join,
    Leave,
    List,
    Servers,
    Tell,
)

EVENTS: Final = ("link_lost", "link_restored", "link_failed", "session_lost", "draining", "error")
HANDLER_SECONDS: Final = 5.0
"""How long `close` waits for disconnect handlers."""

ListenerT = TypeVar("ListenerT", bound=Callable[..., Any])

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
) -> Moorage:
    """Hand the clients of `sio`, a `socketio.AsyncServer`, to Moorage; returns once the link is up.

    Handlers may be registered before or after. `hub` and `connection_string` say whose clients, and
    where the service is. `server_id` must be unique among the hub's app servers; left out, it is
    random, which is right. `max_queue_bytes` may wait for the service before emits raise `QueueFull`.
    `wait`: keep trying while no service answers, instead of raising. `emit_only`: a worker or a script that
    only emits; it never gets clients. `ssl_context` for an https
    endpoint whose authority this machine does not know.

    Raises `UsageError` for arguments that cannot work, `LinkRefused` and `LinkUnavailable` with a
    message that names cause and fix. After that the link comes back by itself; see `Moorage.on`.
    """
    where = parse(connection_string)
    _check(sio, check_hub(hub), server_id)
    moorage = Moorage(
        sio,
        lambda inbox: Link(
            where,
            hub,
            server_id or secrets.token_urlsafe(12),
            inbox,
            max_queue_bytes=max_queue_bytes,
            emit_only=emit_only,
            ssl_context=ssl_context,
        ),
    )
    try:
        await moorage.link.start(wait=wait)
    except BaseException:
        moorage.detach()
        raise
    warn_of_large_messages(sio.eio, moorage.link.hello)
    return moorage


def _check(sio: Any, hub: str, server_id: Any) -> None:
    check_version()
    if isinstance(sio, socketio.Server):
        raise UsageError("this is a synchronous socketio.Server: `use_moorage_sync(sio, ...)` is for it")
    if not isinstance(sio, socketio.AsyncServer):
        raise UsageError(f"use_moorage takes a socketio.AsyncServer, not {type(sio).__name__}")
    if isinstance(sio.eio, Engine):
        raise UsageError("this server uses Moorage already; close() that first")
    if type(sio.manager) is not socketio.AsyncManager:
        raise UsageError(
            f"this server has a client_manager of its own ({type(sio.manager).__name__}). Moorage takes its "
            "place and reaches all app servers of the hub: leave out `client_manager=`"
        )
    if sio.eio.sockets:
        raise UsageError("this server has clients already: call use_moorage before they connect")
    if server_id is not None and not (isinstance(server_id, str) and 1 <= len(server_id) <= 128):
        raise UsageError("server_id must have 1 to 128 characters")
    warn_of_origins(sio)


class Moorage:
    """The link of one `socketio.AsyncServer`, and the server API beyond python-socketio. What it does
    reaches the sockets of all app servers of the hub.

    `to` and `room` everywhere: a room, a socket id, or a collection of them; None is the whole
    namespace. `skip`: sockets and rooms to leave out. Timeouts are in seconds.
    """

    def __init__(self, sio: Any, make_link: Callable[[Inbox], Link]) -> None:
        self.sio = sio
        inbox = Inbox(self._tell)
        self.link = make_link(inbox)
        self._codec = Codec(sio.packet_class)
        self._listeners: dict[str, list[Callable[..., Any]]] = {name: [] for name in EVENTS}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._former = (sio.eio, sio.manager)
        self._engine = Engine(sio.eio, self.link)
        waits = Waits()
        self._manager = Manager(self.link, self._codec, self._engine.find, waits)
        self._manager.set_server(sio)
        events = Events(sio, self.link, self._codec, waits)
        self._dispatcher = Dispatcher(sio, self._engine, self._manager, self._codec, events)
        self._server_events = ServerEvents(self.link, self._codec)
        inbox.serve(self.link, self._dispatcher, self._manager.members, self._server_events)
        carry_over(sio.manager, self._manager)
        sio.eio, sio.manager = self._engine, self._manager

    # -- the link ---------------------------------------------------------------------------------------

    @property
    def server_id(self) -> str:
        """This app server's id in the hub."""
        return self.link.server_id

    @property
    def hub(self) -> str:
        """The hub whose clients it serves."""
        return self.link.hub

    @property
    def up(self) -> bool:
        """The link is up now. While it is down emits are queued and requests wait."""
        return self.link.up

    @overload
    def on(self, name: str, listener: ListenerT) -> ListenerT: ...

    @overload
    def on(self, name: str) -> Callable[[ListenerT], ListenerT]: ...

    def on(self, name: str, listener: Any = None) -> Any:
        """Hear what happens to the link; a decorator if no `listener` is given. Functions or coroutine
        functions, several per name.

        `link_lost(error)`, `link_restored()`; `session_lost(why)`: all clients are gone, their
        `disconnect` handlers run; `link_failed(error)`: the service refuses for good, nothing is tried
        any more; `draining(seconds)`: the service will go; `error(error)`: something that nobody
        waited for was not done. Each has a log line of `moorage.sdk`, too.
        """
        if name not in self._listeners:
            raise UsageError(f"no such event: {name!r}; there are {', '.join(EVENTS)}")
        if listener is None:
            return lambda function: self.on(name, function)
        self._listeners[name].append(listener)
        return listener

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

    async def close(self, drain: float = 0.0) -> None:
        """Leave the hub. `drain`: take no new clients, and give those there are so many seconds first.
        Then the service closes them, and they reconnect to other app servers. Disconnect handlers
        have run, or had 5 seconds, when this returns. Idempotent."""
        if not self.link.closed:
            await self.link.drain(drain, lambda: not self._engine.by_number)
        deadline = asyncio.get_running_loop().time() + HANDLER_SECONDS
        if not self.link.closed:
            # Before the link ends: the handlers have things to say to others.
            self._engine.let_go()
            await self._settled(deadline)
            await self.link.close()
        if not await self._settled(deadline):
            _log.warning("closed while disconnect handlers were running")
        self.detach()

    async def _settled(self, deadline: float) -> bool:
        """No clients, and their handlers have run."""
        self._dispatcher.all_gone()
        try:
            async with asyncio.timeout_at(deadline):
                await self._dispatcher.settled()
        except TimeoutError:
            return False
        return True

    def detach(self) -> None:
        """Give the server back its own engine and manager."""
        if self.sio.eio is self._engine:
            self.sio.eio, self.sio.manager = self._former

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # -- emits ------------------------------------------------------------------------------------------

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
        """As `sio.emit`. `volatile`: leaves out sockets that cannot take it at once, all of them while
        the link is down. `local`: only sockets of this app server."""
        flags = (VOLATILE if volatile else 0) | (LOCAL if local else 0)
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
        payload = self._codec.event(namespace, [event, *arguments_of(data)])
        whom = target(namespace, to, skip)
        collector = AckCollector(self._codec)
        end = await self._manager.ask(
            lambda ref: Ask(ref, whom, 0, milliseconds(timeout), payload),
            timeout=timeout + ANSWER_SECONDS,
            part=collector.part,
        )
        assert isinstance(end, Done)
        return collector.result(end.missing)

    # -- sockets ----------------------------------------------------------------------------------------

    async def fetch_sockets(
        self, room: Any = None, *, namespace: str = "/", skip: Any = None, timeout: float = 5.0
    ) -> FetchedSockets:
        """Which sockets there are. Ids, rooms and handshakes come from the service; their `data` from
        the app servers, as far as these answer in time (see `missing`)."""
        collector = SocketCollector(namespace)
        whom = target(namespace, room, skip)
        end = await self._manager.ask(
            lambda ref: Fetch(ref, whom, milliseconds(timeout)),
            timeout=timeout + ANSWER_SECONDS,
            part=collector.part,
        )
        assert isinstance(end, Done)
        for row, _ in collector.rows:
            member = self._manager.members.get(row.id, namespace)
            if member is not None:
                # The asker itself is not asked.
                collector.know(member, facts_json(member.client.session.get(namespace), member.auth))
        return collector.result(end.missing)

    async def sockets_join(
        self, rooms: Any, *, to: Any = None, namespace: str = "/", skip: Any = None
    ) -> int:
        """All these sockets enter `rooms` (one or several); how many there were."""
        whom, names = target(namespace, to, skip), room_names(rooms)
        return (await self._manager.request(lambda ref: Join(ref, whom, names))).count

    async def sockets_leave(
        self, rooms: Any, *, to: Any = None, namespace: str = "/", skip: Any = None
    ) -> int:
        """All these sockets leave `rooms`; how many there were."""
        whom, names = target(namespace, to, skip), room_names(rooms)
        return (await self._manager.request(lambda ref: Leave(ref, whom, names))).count

    async def disconnect_sockets(
        self, *, to: Any = None, namespace: str = "/", skip: Any = None, close: bool = False
    ) -> int:
        """All these sockets leave the namespace; `close` ends their connections as well. How many there
        were."""
        whom = target(namespace, to, skip)
        return (await self._manager.request(lambda ref: Disconnect(ref, whom, close))).count

    # -- app servers ------------------------------------------------------------------------------------

    async def server_side_emit(self, event: str, *args: Any, namespace: str = "/") -> None:
        """An event for all other app servers of the hub; see `on_server_event`."""
        payload = self._codec.event(namespace, [event, *args])
        self.link.send(Tell(0, namespace, 0, payload))
        if self.link.congested:
            await self.link.drained()

    async def server_side_emit_with_ack(
        self, event: str, *args: Any, namespace: str = "/", timeout: float = 5.0
    ) -> Acks:
        """The same, and wait until all have answered or the time is over."""
        payload = self._codec.event(namespace, [event, *args])
        collector = AckCollector(self._codec)
        end = await self._manager.ask(
            lambda ref: Tell(ref, namespace, milliseconds(timeout), payload),
            timeout=timeout + ANSWER_SECONDS,
            part=collector.part,
        )
        assert isinstance(end, Done)
        return collector.result(end.missing)

    def on_server_event(self, event: str, *, namespace: str = "/") -> Callable[[HandlerT], HandlerT]:
        """Decorator: handles an event of other app servers. Gets its arguments; what it returns is the
        answer, a tuple several values. A function or a coroutine function."""

        def register(handler: HandlerT) -> HandlerT:
            self._server_events.add(namespace, event, handler)
            return handler

        return register

    async def servers(self) -> list[AppServer]:
        """The hub's app servers, this one among them."""
        end = await self._manager.ask(List, timeout=ANSWER_SECONDS)
        assert isinstance(end, Servers)
        return [AppServer(row.id, row.dialect, row.up, row.clients) for row in end.rows]


def milliseconds(seconds: float) -> int:
    """A timeout as frames carry it. Raises `UsageError` for one that is no time to wait."""
    if not 0 < seconds < 86_400:
        raise UsageError(f"timeout must be above 0 and below a day, in seconds, not {seconds!r}")
    return max(1, int(seconds * 1000))


async def _logged(call: Any, name: str) -> None:
    try:
        await call
    except Exception:
        _log.exception("a listener of %s failed", name)
