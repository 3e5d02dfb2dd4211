"""The parts that `Moorage` and `ThreadedMoorage` share: names, listeners and checks. No I/O."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar, overload

from moorage.sdk.errors import UsageError
from moorage.sdk.exchange.calls import Calls
from moorage.sdk.exchange.inbox import Inbox
from moorage.sdk.exchange.manager import SocketManager
from moorage.sdk.exchange.server_events import HandlerT, ServerEvents
from moorage.sdk.instrumented import carry_over
from moorage.sdk.payload import Codec
from moorage.sdk.supported import check_version, warn_of_origins

EVENTS: Final = ("link_lost", "link_restored", "link_failed", "session_lost", "draining", "error")
HANDLER_SECONDS: Final = 5.0
"""Seconds for which `close` waits for disconnect handlers."""

ListenerT = TypeVar("ListenerT", bound=Callable[..., Any])


class AppServerBase:
    """One app server. Call `_replace` when the parts are made."""

    link: Any
    _server_events: ServerEvents

    def __init__(self, sio: Any) -> None:
        self.sio = sio
        self._codec = Codec(sio.packet_class)
        self._listeners: dict[str, list[Callable[..., Any]]] = {name: [] for name in EVENTS}
        self._former = (sio.eio, sio.manager)

    def _replace(self, engine: Any, manager: SocketManager, inbox: Inbox) -> None:
        """Put `engine` and `manager` into the server."""
        self._calls = Calls(self._codec, manager, inbox)
        carry_over(self.sio.manager, manager)
        self.sio.eio, self.sio.manager = engine, manager
        self._own_engine = engine

    def detach(self) -> None:
        """Give the server back its own engine and manager."""
        if self.sio.eio is self._own_engine:
            self.sio.eio, self.sio.manager = self._former

    @property
    def server_id(self) -> str:
        """This app server's id in the hub."""
        return str(self.link.server_id)

    @property
    def hub(self) -> str:
        """The hub whose clients it serves."""
        return str(self.link.hub)

    @property
    def up(self) -> bool:
        """True while the link is up. While it is down, emits are queued and requests wait."""
        return bool(self.link.up)

    @property
    def nodes(self) -> tuple[str, ...]:
        """Names of the service's nodes at which this app server has a session. Its emits reach their clients
        without a detour. Empty if the service has a single node."""
        return tuple(self.link.nodes)

    @overload
    def on(self, name: str, listener: ListenerT) -> ListenerT: ...

    @overload
    def on(self, name: str) -> Callable[[ListenerT], ListenerT]: ...

    def on(self, name: str, listener: Any = None) -> Any:
        """Listen to events of the link; a decorator if no `listener` is given. There may be several listeners
        for an event. With `use_moorage` they may be coroutine functions; with `use_moorage_sync` they run in
        threads, as handlers do.

        `link_lost(error)`, `link_restored()`; `session_lost(why)`: all clients are gone, their `disconnect`
        handlers run; `link_failed(error)`: the service refuses the link for good and the SDK stops trying;
        `draining(seconds)`: the service shuts down; `error(error)`: something was not done that no caller
        waited for. Each is also a log line of `moorage.sdk`."""
        if name not in self._listeners:
            raise UsageError(f"no such event: {name!r}; there are {', '.join(EVENTS)}")
        if listener is None:
            return lambda function: self.on(name, function)
        self._listeners[name].append(listener)
        return listener

    def on_server_event(self, event: str, *, namespace: str = "/") -> Callable[[HandlerT], HandlerT]:
        """Decorator for a handler of an event of other app servers. The handler gets the event's arguments,
        and its return value is the answer; a tuple is several values. With `use_moorage` the handler may be a
        coroutine function."""

        def register(handler: HandlerT) -> HandlerT:
            self._server_events.add(namespace, event, handler)
            return handler

        return register


def check(sio: Any, *, engine: type[Any], manager: type[Any], server_id: Any, function: str) -> None:
    """Raises `UsageError` for a server that cannot be handed over by `function`."""
    check_version()
    if isinstance(sio.eio, engine):
        raise UsageError("this server uses Moorage already; close() that first")
    if type(sio.manager) is not manager:
        raise UsageError(
            f"this server has a client_manager of its own ({type(sio.manager).__name__}). Moorage takes its "
            "place and reaches all app servers of the hub: leave out `client_manager=` "
            "(Flask-SocketIO: `message_queue=`)"
        )
    if sio.eio.sockets:
        raise UsageError(f"this server has clients already: call {function} before they connect")
    if server_id is not None and not (isinstance(server_id, str) and 1 <= len(server_id) <= 128):
        raise UsageError("server_id must have 1 to 128 characters")
    warn_of_origins(sio)
