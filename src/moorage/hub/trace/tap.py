"""One connection that is watched. Nothing on the way of its packets asks whether somebody watches: while
somebody does, parts of the connection are replaced, its session (for what the client sends) and its groups.
What is sent to the client is seen by its outbox, whose `limit` is 0 meanwhile: every entry is over it."""

from __future__ import annotations

from typing import Any, Final, NamedTuple, Protocol

from moorage.engine.peer import Answer, Connect, Forward, Left
from moorage.engine.session import Closed, EngineSession, Event
from moorage.hub.hub import Connection
from moorage.hub.trace.describe import Description
from moorage.hub.trace.watch import Watch
from moorage.wire.engineio import CLOSE
from moorage.wire.groups import room_of
from moorage.wire.trace.seen import Direction

MAX_UNACKED: Final = 512
"""Events of one connection whose acks are waited for."""
_PONG: Final = b"3"


class Entry(NamedTuple):
    """What passed, as it was at that moment. It is described later, outside of the way of packets."""

    at: float
    """The node's clock."""
    direction: Direction
    data: bytes
    framed: bool
    """True if `data` are WebSocket frames, False if it is a payload."""
    hub: str
    app_server: str
    watches: tuple[Watch, ...]
    """Those that see it."""
    tap: Tap | None
    """The connection; None for an emit to a room."""
    recipients: int = 0


class Listener(Protocol):
    """Is told of what happens to tapped connections (`hub.trace.tracer.Tracer`)."""

    def passed(self, tap: Tap, direction: Direction, data: bytes, *, framed: bool) -> None:
        """Something passed on its way from or to the client."""

    def grouped(self, tap: Tap, namespace: str, room: str, *, joined: bool) -> None:
        """The client's socket has joined or left a room."""


class Tap:
    """The watches of one connection."""

    __slots__ = ("_unacked", "app_server", "connection", "framed", "listener", "sids", "watches")

    def __init__(self, connection: Connection, listener: Listener) -> None:
        self.connection = connection
        self.listener = listener
        self.watches: tuple[Watch, ...] = ()
        self.app_server = connection.server.id
        """The app server when it was last looked at."""
        self.framed = connection.outbox.framed
        """True if the client was on a WebSocket then."""
        self.sids: dict[str, str] = {}
        """Ids of the client's sockets, those that have ended included, by namespace."""
        self._unacked: dict[tuple[Direction, str, int], float] = {}
        connection.session = TappedSession(connection.session, self)
        connection.groups = TappedGroups(connection.groups, self)
        connection.outbox.tap(on=True)

    def release(self) -> None:
        """Nobody watches any more: put the ordinary parts back."""
        connection = self.connection
        tapped = connection.session
        connection.session = EngineSession(tapped.max_payload, 0, 0)
        connection.session.continue_from(tapped)
        connection.groups = set(connection.groups)
        connection.outbox.tap(on=False)

    def received(self, event: Event) -> None:
        """The client has sent something valid."""
        if isinstance(event, Forward | Connect | Left):
            data = event.packet
        elif isinstance(event, Answer):
            data = event.payload
        elif event is not None:
            data = CLOSE if isinstance(event, Closed) else _PONG
        else:
            return
        self.listener.passed(self, "in", data, framed=False)

    def group(self, group: str, *, joined: bool) -> None:
        """The connection has joined or left a group."""
        found = room_of(group)
        if found is None:
            return
        namespace, room = found
        sid = self.connection.session.peer.namespaces.get(namespace)
        # The end of a namespace ends all its rooms, and the room of a socket is not one of the app's.
        if sid is not None and sid != room:
            self.listener.grouped(self, namespace, room, joined=joined)

    def sid(self, namespace: str) -> str:
        """The id of the client's socket in a namespace; "" if it is unknown."""
        found = self.connection.session.peer.namespaces.get(namespace)
        if found:
            self.sids[namespace] = found
        return self.sids.get(namespace, "")

    def ack_ms(self, direction: Direction, what: Description, at: float) -> float | None:
        """Note an event that expects an ack. For an ack: milliseconds since its event, if that was seen."""
        if what.ack is None:
            return None
        if what.type == "event":
            if len(self._unacked) >= MAX_UNACKED:
                del self._unacked[next(iter(self._unacked))]
            self._unacked[direction, what.namespace, what.ack] = at
            return None
        asked = self._unacked.pop(("in" if direction == "out" else "out", what.namespace, what.ack), None)
        return None if asked is None else (at - asked) * 1000


class TappedSession(EngineSession):
    """The session of a tapped connection."""

    __slots__ = ("_tap",)

    def __init__(self, plain: EngineSession, tap: Tap) -> None:
        super().__init__(plain.max_payload, 0, 0)
        self.continue_from(plain)
        self._tap = tap

    def receive(self, packet: bytes) -> Event:
        """`EngineSession.receive`."""
        event = super().receive(packet)
        self._tap.received(event)
        return event

    def receive_binary(self, data: bytes) -> Event:
        """`EngineSession.receive_binary`."""
        event = super().receive_binary(data)
        self._tap.received(event)
        return event


class TappedGroups(set[str]):
    """The groups of a tapped connection."""

    def __init__(self, groups: set[str], tap: Tap) -> None:
        super().__init__(groups)
        self._tap = tap

    def add(self, group: str, /) -> None:
        """`set.add`. The caller has looked that it is new."""
        super().add(group)
        self._tap.group(group, joined=True)

    def discard(self, group: Any, /) -> None:
        """`set.discard`. The caller has looked that it is there."""
        super().discard(group)
        self._tap.group(group, joined=False)
