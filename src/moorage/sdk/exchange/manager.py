"""What both client managers share: the process's own sockets, and the frames of emits and room changes. There
is no I/O here. The service keeps the rooms and sends emits to their members, so an emit is one frame,
whatever its target. All frames go through one queue of the link, so emits arrive in the order in which they
were made."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Any, Final

from moorage.sdk.clients.clients import Client, ClientTable
from moorage.sdk.clients.members import Callback, Member, Members, Parting, Stage, room_name, room_names
from moorage.sdk.errors import MoorageError
from moorage.sdk.exchange.change import Make, RoomChange
from moorage.sdk.exchange.targets import target
from moorage.sdk.link.session import End, Part
from moorage.sdk.payload import Codec
from moorage.wire.moorage.v1 import Answer, Ask, Disconnect, Emit, Enter, Exit, Join, Leave, Packet, To

CALLBACK_SECONDS: Final = 60.0
"""Seconds to wait for the callbacks of an emit to sockets of other app servers, as long as `call` waits."""
ANSWER_SECONDS: Final = 30.0
"""Seconds to wait for answers that the service gives at once, unless the link is down."""

_log = logging.getLogger("moorage.sdk")

Step = RoomChange | Make | None
"""What to do about a room: make a change, send a request about a socket elsewhere, or nothing."""


class SocketManager:
    """Mixed into one of python-socketio's managers by both executors. `lock` is held during changes that
    several threads may make."""

    server: Any

    def _manage(self, table: ClientTable[Any], codec: Codec, lock: AbstractContextManager[object]) -> None:
        """Start without sockets."""
        self.lock = lock
        self.members = Members()
        self.rooms = self.members.rooms
        self.connecting: set[Member] = set()
        """Sockets that the service does not know as members of their namespace yet."""
        self.auth: dict[tuple[str, str], Any] = {}
        """`auth` of CONNECTs that are being handled, by client and namespace."""
        self._table = table
        self._codec = codec

    # -- emits ----------------------------------------------------------------------------------------------

    def plan_emit(
        self, event: str, data: Any, namespace: str, room: Any, skip: Any, flags: int
    ) -> tuple[Emit | Packet, str]:
        """The frame of an emit, and the session in which it is valid ("": any). Raises `NotSerialisable`
        and `UsageError`."""
        if data is None:
            arguments = [event]
        else:
            arguments = [event, *data] if isinstance(data, tuple) else [event, data]
        payload = self._codec.event(namespace, arguments)
        if room.__class__ is str and not flags and skip is None:
            member = self.reachable(room, namespace)
            if member is not None and not member.missing:
                return Packet(member.client.number, payload), member.client.link_session
        return Emit(0, target(namespace, room, skip), flags, payload), ""

    def reachable(self, room: Any, namespace: str) -> Member | None:
        """The own socket that `room` names, if a packet can be sent to it directly. Then the service need
        not look for it."""
        member = self.members.by_id.get(room) if room.__class__ is str else None
        if member is None or member.namespace != namespace:
            return None
        client = member.client
        # A client that moves is reached in its socket's room, wherever it is.
        away = client.gone or client.parting is Parting.SAID
        return None if away or member.stage is Stage.LEAVING else member

    def staying(self, sid: Any, namespace: str) -> Member | None:
        """The own socket with this id, unless its client is moving to another app server. The service may
        have that client under another number already, so such a socket is named by its room."""
        member = self.members.get(sid, namespace)
        return None if member is None or member.client.parting is Parting.SAID else member

    def also_to(self, to: To) -> list[Member]:
        """Connecting sockets that an emit must be sent to one by one. With python-socketio, a `connect`
        handler's emit to all, or to its own socket among others, reaches that socket as well."""
        with self.lock:
            return [member for member in self.connecting if member.hears(to)]

    def packet_with_ack(
        self, member: Member, namespace: str, arguments: list[Any], callback: Callback
    ) -> tuple[Packet | Emit, int] | None:
        """An event for an own socket whose ack goes to `callback`, and its ack id. None if the service has
        the client's state: the next app server may use the same id. Raises `NotSerialisable`."""
        with self.lock:
            if member.client.parting is Parting.SAID:
                return None
            ack_id = member.expect(callback)
        try:
            payload = self._codec.event(namespace, arguments, ack_id)
            if member.missing:
                return to_room(member, payload), ack_id
            return Packet(member.client.number, payload), ack_id
        except BaseException:
            member.answered(ack_id)
            raise

    def ask_with_ack(self, namespace: str, arguments: list[Any], room: Any, skip: Any, flags: int) -> Make:
        """An event for sockets of any app server, whose acks are `Answer` frames."""
        payload = self._codec.event(namespace, arguments)
        to, timeout = target(namespace, room, skip), int(CALLBACK_SECONDS * 1000)
        return lambda ref: Ask(ref, to, flags, timeout, payload)

    # -- rooms ----------------------------------------------------------------------------------------------

    def plan_enter(self, sid: str, namespace: str, room: Any) -> Step:
        """`sid` enters a room. Raises `ValueError` and `UsageError`."""
        with self.lock:
            if sid != room and self.members.is_private(namespace, room):
                raise ValueError("cannot enter a sid room")
            member = self.staying(sid, namespace)
            if member is None:
                return _elsewhere(Join, sid, namespace, room)
            undo = self._undo(member, room)
            names = sent = self.members.enter(member, [room])
            if member.stage is Stage.CONNECTING and not member.restored:
                # The service learns a socket's id from the answer to its CONNECT. An emit that follows may
                # go to the room, or be meant to skip the socket, so the id goes before the room.
                sent, member.entered = (sid, *names), True
            number = member.client.number
            return self._room_change(member, names, lambda ref: Enter(ref, number, namespace, sent), undo)

    def plan_leave(self, sid: str, namespace: str, room: Any) -> Step:
        """`sid` leaves a room; it is no error if it is not in there. Raises `UsageError`."""
        with self.lock:
            member = self.staying(sid, namespace)
            if member is None:
                return _elsewhere(Leave, sid, namespace, room)
            undo = self._undo(member, room)
            names = self.members.leave(member, [room])
            number = member.client.number
            return self._room_change(member, names, lambda ref: Exit(ref, number, namespace, names), undo)

    def _undo(self, member: Member, room: Any) -> Callable[[], object]:
        """Restores the present state, should a change fail."""
        back = self.members.enter if room_name(room) in member.rooms else self.members.leave
        return lambda: back(member, [room])

    def _room_change(
        self, member: Member, names: tuple[str, ...], make: Make, undo: Callable[[], object]
    ) -> RoomChange | None:
        if member.client.gone or member.stage is Stage.LEAVING:
            # The service has removed the socket: only its last handlers still read its rooms.
            return None
        return RoomChange(self.members, member, names, make=make, undo=undo, lock=self.lock)

    def plan_close(self, room: Any, namespace: str) -> tuple[Make, Callable[[], None]]:
        """All sockets of all app servers leave a room. The second value restores the own sockets' rooms,
        should that fail. Raises `ValueError` and `UsageError`."""
        names, to = room_names([room]), target(namespace, room, None)
        with self.lock:
            if self.members.is_private(namespace, room):
                raise ValueError("cannot close a sid room")
            inside = [self.members.by_id[sid] for sid, _ in self.members.inside(namespace, names)]
            for member in inside:
                self.members.leave(member, names)

        def undo() -> None:
            with self.lock:
                for member in inside:
                    self.members.enter(member, [room])

        return lambda ref: Leave(ref, to, names), undo

    def moved(self, client: Client, namespace: str, joined: bool, names: Iterable[str]) -> None:
        """Another app server, or the REST API, has changed the rooms of a client's socket."""
        with self.lock:
            restored, member = client.restored.get(namespace), client.members.get(namespace)
            if restored is not None:
                restored.moved(joined, names)
            elif member is not None and self.members.by_id.get(member.sid) is member:
                self.members.moved(member, joined, names)

    def rebind(self, member: Member, client: Client) -> None:
        """An own socket goes on with another client."""
        with self.lock:
            if self.members.by_id.get(member.sid) is member:
                self.members.rebind(member, client)

    def basic_enter_room(self, sid: str, namespace: str, room: Any, eio_sid: str | None = None) -> None:
        """`sio.instrument()` replaces it to see rooms. Everything has been done by then."""

    def basic_leave_room(self, sid: str, namespace: str, room: Any) -> None:
        """As `basic_enter_room`."""

    # -- life of a socket -----------------------------------------------------------------------------------

    def add_socket(self, eio_sid: str, namespace: str) -> str | None:
        """A CONNECT came: the new socket's id. None refuses a second CONNECT."""
        client: Client | None = self._table.sockets.get(eio_sid)
        with self.lock:
            if client is None or client.gone or namespace in client.members:
                return None
            restored = client.restored.pop(namespace, None)
            client.environ["moorage.recovered"] = restored is not None
            sid: str = self.server.eio.generate_id() if restored is None else restored.sid
            member = Member(sid, namespace, client, self.auth.get((eio_sid, namespace)))
            self.members.add(member)
            self.connecting.add(member)
            if restored is not None:
                member.restored = True
                self.members.enter(member, restored.rooms)
                client.session[namespace] = restored.session()
        return sid

    def connected(self, sid: str, namespace: str) -> None:
        """The CONNECT was answered."""
        with self.lock:
            member = self.members.get(sid, namespace)
            if member is not None:
                if member.stage is Stage.CONNECTING:
                    member.stage = Stage.CONNECTED
                self.connecting.discard(member)

    def claim(self, member: Member) -> bool:
        """True for the one caller that runs the disconnect handler."""
        with self.lock:
            if member.stage is not Stage.CONNECTED:
                return False
            member.stage = Stage.LEAVING
            return True

    def disconnect_elsewhere(self, sid: Any, namespace: str) -> Make | None:
        """Ask the service to disconnect a socket of another app server."""
        if not (isinstance(sid, str) and sid):
            return None
        to = target(namespace, sid, None)
        return lambda ref: Disconnect(ref, to, False)

    @staticmethod
    def dismissal(member: Member) -> Disconnect:
        """The frame that ends an own socket whose client is away and could come back to it. It goes by the
        socket's room, because the service has no such client any more."""
        member.dismissed = True
        return Disconnect(0, To(member.namespace, (member.sid,)), False)

    def pre_disconnect(self, sid: str, namespace: str) -> str | None:
        """Its disconnect handler is about to run."""
        member = self.members.get(sid, namespace)
        if member is None:
            return None
        member.stage = Stage.LEAVING
        return member.client.sid

    def remove(self, member: Member) -> None:
        """The socket has ended, or was refused."""
        with self.lock:
            self.members.remove(member)
            self.connecting.discard(member)

    # -- questions of python-socketio -----------------------------------------------------------------------

    def get_rooms(self, sid: str, namespace: str) -> list[Any]:
        """The rooms of an own socket; an empty list for others."""
        with self.lock:
            member = self.members.get(sid, namespace)
            return [] if member is None else self.members.rooms_of(member)

    def get_participants(self, namespace: str, room: Any) -> Iterator[tuple[str, str]]:
        """Own sockets only, as with every manager of the library."""
        with self.lock:
            return iter(list(self.members.inside(namespace, room)))

    def get_namespaces(self) -> list[str]:
        """Namespaces with own sockets."""
        with self.lock:
            return list(self.members.rooms)

    def is_connected(self, sid: str, namespace: str) -> bool:
        """True if its CONNECT is answered and it is not about to leave."""
        member = self.members.get(sid, namespace)
        return member is not None and member.stage is Stage.CONNECTED

    def is_pre_connected(self, sid: str, namespace: str) -> bool:
        """True if its CONNECT is not answered yet."""
        member = self.members.get(sid, namespace)
        return member is not None and member.stage is Stage.CONNECTING

    def sid_from_eio_sid(self, eio_sid: str, namespace: str) -> str | None:
        """The id of a client's socket in a namespace."""
        client = self._table.sockets.get(eio_sid)
        member = client.members.get(namespace) if client is not None else None
        return None if member is None else member.sid

    def eio_sid_from_sid(self, sid: str, namespace: str) -> str | None:
        """The session id of a socket's client."""
        member = self.members.get(sid, namespace)
        return None if member is None else member.client.sid


def to_room(member: Member, payload: bytes) -> Emit:
    """An event for an own socket, wherever its client is."""
    return Emit(0, target(member.namespace, member.sid, None), 0, payload)


def _elsewhere(kind: type[Join] | type[Leave], sid: Any, namespace: str, room: Any) -> Make | None:
    """A request for a socket of another app server. As with the library's Redis manager, nothing happens if
    no app server has the socket."""
    names = room_names([room])
    if not isinstance(sid, str):
        return None
    to = target(namespace, sid, None)
    return lambda ref: kind(ref, to, names)


class AckCallbacks:
    """`Answers` of an emit with a callback to sockets of any app server. `over` is called at the end."""

    def __init__(
        self, codec: Codec, call_back: Callable[[list[Any]], None], over: Callable[[], object] = bool
    ) -> None:
        self._codec = codec
        self._call_back = call_back
        self._over = over

    def part(self, frame: Part, _source: int = 0, /) -> None:
        """An ack has arrived, or a frame with the number of acks to come."""
        if isinstance(frame, Answer):
            try:
                arguments = self._codec.arguments(frame.payload)
            except ValueError:
                _log.warning("the ack of %s cannot be read", frame.sender)
            else:
                self._call_back(arguments)

    def end(self, frame: End) -> None:
        """The answer is complete. Sockets that have not answered by now will not; no callback is called for
        them."""
        self._over()

    def failed(self, error: MoorageError) -> None:
        """No more acks will come."""
        self._over()
        _log.warning("acks of an emit are lost: %s", error)
