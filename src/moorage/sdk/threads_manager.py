"""The client manager of a synchronous `socketio.Server`: rooms and emits are the service's matter.

The tables of `BaseManager` stay, for this process's own sockets: python-socketio and its users read
them (`rooms`, `get_participants`, ...). They are a mirror. Who gets an emit is decided by the service,
whose tables know the sockets of all app servers. Everything here may be called from any thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any, Final, Protocol

import socketio
import socketio.server

from moorage.sdk.payload import Codec
from moorage.sdk.threads_engine import Client, Engine
from moorage.wire.errors import UsageError
from moorage.wire.tunnel import Ask, Disconnect, Done, Emit, Enter, Exit, FromApp, Leave, Packet, To

CALLBACK_SECONDS: Final = 60.0
"""How long callbacks of emits to sockets of other app servers are waited for; `call` waits as long."""

_LIBRARY: Final = socketio.server.__name__

Rooms = tuple[str, ...]


class Outlet(Protocol):
    """The link, from any thread but its own."""

    def send(self, frame: FromApp) -> None:
        """Queue a frame. Raises `LinkError` or `UsageError` where that is not possible."""

    def request(self, make: Callable[[int], FromApp]) -> Done:
        """Send the frame that `make` builds around a number, wait for its `Done`. Raises what `send`
        does, and `RequestFailed`, `RequestTimeout`, `SessionLost`."""
        raise NotImplementedError

    def ask(self, make: Callable[[int], FromApp], answer: Callable[[bytes], None], seconds: float) -> None:
        """The same without waiting: `answer` is called for each answer's payload, on any thread."""


def room_names(rooms: Any) -> Rooms:
    """One room or several, as they go over the link."""
    if rooms is None:
        return ()
    if isinstance(rooms, (list, tuple, set, frozenset)):
        return tuple(dict.fromkeys(room_name(room) for room in rooms))
    return (room_name(rooms),)


def room_name(room: Any) -> str:
    """Rooms are text on the wire, for app servers in every language. Numbers are taken as well, as
    apps like to use their database's keys."""
    if isinstance(room, str):
        return room
    if isinstance(room, int) and not isinstance(room, bool):
        return str(room)
    raise UsageError(f"a room is a str or an int, not {type(room).__name__}: {room!r}")


def arguments_of(data: Any) -> list[Any]:
    """What python-socketio makes of the `data` of an emit: a tuple is several arguments."""
    if isinstance(data, tuple):
        return list(data)
    return [] if data is None else [data]


class ThreadsManager(socketio.Manager):  # type: ignore[misc]  # python-socketio is not annotated
    """Give it to the server together with an `Engine`."""

    def __init__(self, engine: Engine, outlet: Outlet, codec: Codec) -> None:
        super().__init__()
        self._codec = codec
        self._engine = engine
        self._outlet = outlet
        self._lock = threading.RLock()
        self._rooms_of: dict[tuple[str, str], set[Any]] = {}
        """By namespace and socket: its rooms. BaseManager would look through all rooms instead."""

    # -- emits -------------------------------------------------------------------------------------

    def emit(
        self,
        event: str,
        data: Any,
        namespace: str,
        *,
        room: Any = None,
        skip_sid: Any = None,
        callback: Callable[..., object] | None = None,
        to: Any = None,
        flags: int = 0,
        **_kwargs: Any,
    ) -> None:
        """One frame, however many it goes to."""
        namespace = namespace or "/"
        target = To(namespace, room_names(to or room), room_names(skip_sid))
        arguments = [event, *arguments_of(data)]
        if callback is None:
            self._outlet.send(Emit(0, target, flags, self._codec.event(namespace, arguments)))
        else:
            self._emit_with_callback(target, flags, arguments, callback)

    def _emit_with_callback(
        self, target: To, flags: int, arguments: list[Any], callback: Callable[..., object]
    ) -> None:
        if not target.rooms:
            raise ValueError("Cannot use callback without a room set.")
        sid = target.rooms[0]
        client = self.client_of(sid, target.namespace)
        if client is not None and len(target.rooms) == 1 and not target.excluded:
            number = self._generate_ack_id(sid, callback)
            payload = self._codec.event(target.namespace, arguments, number)
            self._outlet.send(Packet(client.number, payload))
            return
        payload = self._codec.event(target.namespace, arguments)
        milliseconds = int(CALLBACK_SECONDS * 1000)
        self._outlet.ask(
            lambda ref: Ask(ref, target, flags, milliseconds, payload),
            lambda answer: self._run_callback(None, callback, self._codec.arguments(answer)),
            CALLBACK_SECONDS,
        )

    # -- rooms -------------------------------------------------------------------------------------

    def enter_room(self, sid: str, namespace: str, room: Any, eio_sid: str | None = None) -> None:
        """Returns when every app server's next emit to the room would reach the socket."""
        with self._lock:
            if namespace not in self.rooms:
                raise ValueError("sid is not connected to requested namespace")
            if sid != room and self.is_sid_room(namespace, room):
                raise ValueError("cannot enter a sid room")
            client = self.client_of(sid, namespace)
        if client is None:
            raise ValueError("sid is not connected to requested namespace")
        names = room_names(room)
        self._outlet.request(lambda ref: Enter(ref, client.number, namespace, names))
        self.moved(client, namespace, joined=True, rooms=(room,))

    def leave_room(self, sid: str, namespace: str, room: Any) -> None:
        """As `enter_room`. A socket that is not there, or not in the room, is none of ours to say."""
        client = self.client_of(sid, namespace)
        if client is None:
            return
        names = room_names(room)
        self._outlet.request(lambda ref: Exit(ref, client.number, namespace, names))
        self.moved(client, namespace, joined=False, rooms=(room,))

    def close_room(self, room: Any, namespace: str) -> None:
        """Takes the sockets of all app servers out of the room."""
        with self._lock:
            if self.is_sid_room(namespace, room):
                raise ValueError("cannot close a sid room")
        names = room_names(room)
        self._outlet.request(lambda ref: Leave(ref, To(namespace, names), names))
        with self._lock:
            self.basic_close_room(room, namespace)

    def moved(self, client: Client, namespace: str, *, joined: bool, rooms: Iterable[Any]) -> None:
        """The service has put one of our sockets into rooms, or out of them."""
        with self._lock:
            sid = self.sid_from_eio_sid(client.sid, namespace)
            if sid is None:
                return
            for room in rooms:
                if joined:
                    self.basic_enter_room(sid, namespace, room, eio_sid=client.sid)
                elif room != sid:
                    self.basic_leave_room(sid, namespace, room)

    def client_of(self, sid: str, namespace: str) -> Client | None:
        """The client of one of our own sockets."""
        eio_sid = self.eio_sid_from_sid(sid, namespace)
        client = self._engine.sockets.get(eio_sid) if eio_sid else None
        return client if isinstance(client, Client) else None

    # -- coming and going ----------------------------------------------------------------------------

    def can_disconnect(self, sid: str, namespace: str) -> bool:
        """True for one of our own sockets, whose disconnection is now the caller's to tell; others are
        disconnected by the service."""
        with self._lock:
            own = self.eio_sid_from_sid(sid, namespace) is not None
            if own:
                return self._claim(sid, namespace)
        self._outlet.request(lambda ref: Disconnect(ref, To(namespace, (room_name(sid),)), close=False))
        return False

    def is_connected(self, sid: str, namespace: str) -> bool:
        """As BaseManager's. A thread that is telling the end of the socket's client gets True once:
        python-socketio asks before it tells, and two threads must not both be told to."""
        with self._lock:
            ending = getattr(self._engine.ending, "client", None)
            if ending is not None and self.eio_sid_from_sid(sid, namespace) == ending.sid:
                return self._claim(sid, namespace)
            return bool(super().is_connected(sid, namespace))

    def _claim(self, sid: str, namespace: str) -> bool:
        if not super().is_connected(sid, namespace):
            return False
        self.pending_disconnect.setdefault(namespace, []).append(sid)
        return True

    def pre_connect(self, eio_sid: str, namespace: str) -> str | None:
        with self._lock:
            sid: str | None = super().pre_connect(eio_sid, namespace)
            return sid

    def connect(self, sid: str, namespace: str) -> str:
        with self._lock:
            return str(super().connect(sid, namespace))

    def pre_disconnect(self, sid: str, namespace: str) -> str | None:
        with self._lock:
            if sid not in self.pending_disconnect.get(namespace, ()):
                self.pending_disconnect.setdefault(namespace, []).append(sid)
            return self.eio_sid_from_sid(sid, namespace)

    def disconnect(self, sid: str, namespace: str, **_kwargs: Any) -> None:
        with self._lock:
            self.basic_disconnect(sid, namespace)

    def basic_disconnect(self, sid: str, namespace: str, **_kwargs: Any) -> None:
        for room in self._rooms_of.pop((namespace, sid), ()):
            self._remove(sid, namespace, room)
        self.callbacks.pop(sid, None)
        for pending in (self.pending_connect, self.pending_disconnect):
            with suppress(KeyError, ValueError):
                pending[namespace].remove(sid)
                if not pending[namespace]:
                    del pending[namespace]

    # -- the tables: what BaseManager does without a lock and by looking through everything ------------

    def basic_enter_room(self, sid: str, namespace: str, room: Any, eio_sid: str | None = None) -> None:
        with self._lock:
            super().basic_enter_room(sid, namespace, room, eio_sid=eio_sid)
            self._rooms_of.setdefault((namespace, sid), set()).add(room)

    def basic_leave_room(self, sid: str, namespace: str, room: Any) -> None:
        with self._lock:
            self._rooms_of.get((namespace, sid), set()).discard(room)
            self._remove(sid, namespace, room)

    def _remove(self, sid: str, namespace: str, room: Any) -> None:
        super().basic_leave_room(sid, namespace, room)

    def get_rooms(self, sid: str, namespace: str) -> list[Any]:
        with self._lock:
            return [room for room in self._rooms_of.get((namespace, sid), ()) if room is not None]

    def get_participants(self, namespace: str, room: Any) -> Iterator[tuple[str, str]]:
        with self._lock:
            return iter(list(super().get_participants(namespace, room)))

    def get_namespaces(self) -> Iterable[str]:
        with self._lock:
            return list(self.rooms)

    def eio_sid_from_sid(self, sid: str, namespace: str) -> str | None:
        with self._lock:
            return self.rooms.get(namespace, {}).get(None, {}).get(sid)  # type: ignore[no-any-return]

    # -- callbacks -----------------------------------------------------------------------------------

    def _generate_ack_id(self, sid: str, callback: Callable[..., object]) -> int:
        with self._lock:
            return int(super()._generate_ack_id(sid, callback))

    def trigger_callback(self, sid: str, id: int, data: Iterable[Any]) -> None:
        """A client has acknowledged. Called in the link's thread: the callback runs in the client's
        lane, in its order."""
        with self._lock:
            callback = self.callbacks.get(sid, {}).pop(id, None) if id else None
            client = next((self.client_of(sid, name) for name in self.rooms if sid in self.rooms[name]), None)
        if callback is None:
            self._get_logger().warning("Unknown callback received, ignoring.")
            return
        self._run_callback(client, callback, list(data or ()))

    def _run_callback(self, client: Client | None, callback: Callable[..., object], data: list[Any]) -> None:
        if getattr(callback, "__module__", None) == _LIBRARY:
            # `call`'s own: it only sets an event. Through the pool, `call` would hang once all threads
            # wait in one.
            callback(*data)
        elif client is not None:
            client.lane.add(partial(callback, *data))
        else:
            self._engine.pool.submit(partial(callback, *data))
