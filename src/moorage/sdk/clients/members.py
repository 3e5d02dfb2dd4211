"""This app server's own sockets and their rooms. No I/O.

The service's tables decide who gets an emit. These tables answer `sio.rooms(sid)` and the like at once, and
follow the changes of other app servers through `Moved`. An own change counts from the call on: the service
gets own changes in order. Only a `Moved` may cross one on the way. It is older than the own change, so it
does not apply to rooms with an unconfirmed change."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from enum import Enum
from typing import Any, Protocol

from moorage.wire.errors import UsageError
from moorage.wire.moorage.v1 import To

Callback = Callable[..., object]


class Stage(Enum):
    """Where a socket is in its life."""

    CONNECTING = 1
    """Its `connect` handler runs."""
    CONNECTED = 2
    LEAVING = 3
    """Its `disconnect` handler runs."""


class Parting(Enum):
    """How far a client is that moves to another app server."""

    NO = 0
    QUEUE = 1
    """Its ordered handlers end."""
    HANDLERS = 2
    """Its other handlers end."""
    SAID = 3
    """The service has its state."""


class ClientRecord(Protocol):
    """The attributes of a client that its sockets use."""

    sid: str
    number: int
    link_session: str
    """The session of the link in which `number` names the client."""
    gone: bool
    may_return: bool
    parting: Parting
    environ: dict[str, Any]
    members: dict[str, Member]
    session: dict[str, Any]
    """By namespace, as python-socketio keeps it."""


class Member:
    """One socket: a client's presence in one namespace."""

    __slots__ = (
        "auth",
        "client",
        "dismissed",
        "entered",
        "last_ack",
        "namespace",
        "restored",
        "rooms",
        "sid",
        "stage",
        "unconfirmed",
        "waiting",
    )

    def __init__(self, sid: str, namespace: str, client: ClientRecord, auth: Any) -> None:
        self.sid = sid
        self.namespace = namespace
        self.client = client
        self.auth = auth
        self.stage = Stage.CONNECTING
        self.entered = False
        """True if the service knows its id already, because it has entered a room while it was connecting."""
        self.dismissed = False
        """True if the app disconnects it while its client is away."""
        self.restored = False
        """True if it goes on after its connection was lost."""
        self.rooms: set[str] = {sid}
        self.unconfirmed: dict[str, int] = {}
        """The number of unconfirmed own changes, by room."""
        self.waiting: dict[int, Callback] = {}
        """Callbacks by ack id."""
        self.last_ack = 0

    @property
    def missing(self) -> bool:
        """True if it has missed events. The service sends these behind the CONNECT answer, and then
        everything emitted to its rooms until then. A packet for its client would come before both."""
        return self.restored and self.stage is Stage.CONNECTING

    def expect(self, callback: Callback) -> int:
        """An ack id for `callback`."""
        self.last_ack += 1
        self.waiting[self.last_ack] = callback
        return self.last_ack

    def answered(self, ack_id: int | None) -> Callback | None:
        """Take the callback of an ack. None if no callback waits for it: the ack is late or made up."""
        return None if ack_id is None else self.waiting.pop(ack_id, None)

    def hears(self, whom: To) -> bool:
        """True if an emit to `whom` is for this socket and the service cannot know that: it is connecting."""
        return (
            self.stage is Stage.CONNECTING
            and not self.restored
            and self.namespace == whom.namespace
            and not self.client.gone
            and (not whom.rooms or (self.sid in whom.rooms and not self.entered))
            and self.rooms.isdisjoint(whom.excluded)
        )


def room_name(room: Any) -> str:
    """A room as text, which it is on the wire. Numbers are accepted too, since apps use their database's keys
    as rooms. Raises `UsageError`."""
    if isinstance(room, str):
        if not room.isascii():
            try:
                room.encode()
            except UnicodeEncodeError:
                # Apps take names of rooms from clients, whose JSON may hold half of a surrogate pair.
                raise UsageError(
                    f"a room's name is not valid Unicode (half of a surrogate pair): {room!r:.100}"
                ) from None
        return room
    if isinstance(room, int) and not isinstance(room, bool):
        return str(room)
    raise UsageError(f"a room must be a str or an int, not {type(room).__name__}: {room!r:.100}")


def room_names(rooms: Any) -> tuple[str, ...]:
    """One room, or a collection of rooms; None is an empty collection."""
    if rooms is None:
        return ()
    if isinstance(rooms, (list, tuple, set, frozenset)):
        return tuple(dict.fromkeys(room_name(room) for room in rooms if room is not None))
    return (room_name(rooms),)


class Members:
    """All own sockets, indexed by room and by socket, so that the cost of a disconnect depends only on the
    number of the socket's rooms."""

    def __init__(self) -> None:
        self.rooms: dict[str, dict[str | None, dict[str, str]]] = {}
        """Namespace -> room -> socket id -> client id; None is the room of all. It has the shape of
        `BaseManager.rooms`, which some apps read."""
        self.by_id: dict[str, Member] = {}
        self._given: dict[str, Any] = {}

    def get(self, sid: str, namespace: str) -> Member | None:
        """The socket with this id, if it is in this namespace."""
        member = self.by_id.get(sid)
        return member if member is not None and member.namespace == namespace else None

    def add(self, member: Member) -> None:
        """A new socket, in its own room. If it goes on after its connection was lost, the `disconnect`
        handler of its former self may still run."""
        former = self.by_id.get(member.sid)
        if former is not None:
            self.remove(former)
        self.by_id[member.sid] = member
        member.client.members[member.namespace] = member
        rooms = self.rooms.setdefault(member.namespace, {})
        rooms.setdefault(None, {})[member.sid] = member.client.sid
        rooms[member.sid] = {member.sid: member.client.sid}

    def remove(self, member: Member) -> None:
        """The socket is gone."""
        if self.by_id.get(member.sid) is not member:
            return
        del self.by_id[member.sid]
        if member.client.members.get(member.namespace) is member:
            del member.client.members[member.namespace]
        for room in (None, *member.rooms):
            self._take_out(member, room)
        member.waiting.clear()

    def rebind(self, member: Member, client: ClientRecord) -> None:
        """The socket goes on with another client."""
        former, namespace = member.client, member.namespace
        client.members[namespace] = member
        if namespace in former.session:
            client.session[namespace] = former.session.pop(namespace)
        member.client = client
        rooms = self.rooms[namespace]
        for room in (None, *member.rooms):
            rooms[room][member.sid] = client.sid

    def enter(self, member: Member, rooms: Iterable[Any]) -> tuple[str, ...]:
        """Add it to rooms, unless it is gone. Returns their names on the wire."""
        names = []
        here = self.by_id.get(member.sid) is member
        for room in rooms:
            name = room_name(room)
            names.append(name)
            if here:
                if not isinstance(room, str):
                    self._given[name] = room
                self._put_in(member, name)
        return tuple(names)

    def leave(self, member: Member, rooms: Iterable[Any]) -> tuple[str, ...]:
        """Remove it from rooms. Returns their names on the wire."""
        names = room_names(tuple(rooms))
        for name in names:
            member.rooms.discard(name)
            self._take_out(member, name)
        return names

    def begin(self, member: Member, names: Iterable[str]) -> None:
        """An own change of these rooms has been sent."""
        for name in names:
            member.unconfirmed[name] = member.unconfirmed.get(name, 0) + 1

    def confirm(self, member: Member, names: Iterable[str]) -> None:
        """The change was answered, or never will be."""
        for name in names:
            left = member.unconfirmed.get(name, 0) - 1
            if left > 0:
                member.unconfirmed[name] = left
            else:
                member.unconfirmed.pop(name, None)

    def moved(self, member: Member, joined: bool, names: Iterable[str]) -> None:
        """Another app server, or the REST API, has changed its rooms."""
        news = [name for name in names if name not in member.unconfirmed]
        if joined:
            for name in news:
                self._put_in(member, name)
        else:
            self.leave(member, news)

    def inside(self, namespace: str, rooms: Any) -> Iterator[tuple[str, str]]:
        """Socket and client ids of the own sockets in any of `rooms` (None: all), each once."""
        table = self.rooms.get(namespace, {})
        if rooms is None:
            found = dict(table.get(None, {}))
        else:
            found = {}
            for name in room_names(rooms):
                found.update(table.get(name, {}))
        yield from found.items()

    def rooms_of(self, member: Member) -> list[Any]:
        """Its rooms as the app named them: a room entered as 42 is 42 here."""
        return [self._given.get(name, name) for name in member.rooms]

    def is_private(self, namespace: str, room: Any) -> bool:
        """True if the room is the id of an own socket."""
        return isinstance(room, str) and self.get(room, namespace) is not None

    def _put_in(self, member: Member, name: str) -> None:
        member.rooms.add(name)
        self.rooms[member.namespace].setdefault(name, {})[member.sid] = member.client.sid

    def _take_out(self, member: Member, room: str | None) -> None:
        table = self.rooms.get(member.namespace, {})
        inside = table.get(room)
        if inside is None or inside.pop(member.sid, None) is None or inside:
            return
        del table[room]
        if room is not None and not any(room in other for other in self.rooms.values()):
            self._given.pop(room, None)
        if not table:
            del self.rooms[member.namespace]
