"""One client that moves from one app server to another and stays connected.

1. *Freezing*: the former app server finishes the client's running handlers. What the client sends is kept, in
   order, except acks: a handler may be waiting for them.
2. *Held*: the former app server has said its last word. The client waits for another one.
3. *Offered*: another one has been asked. If it refuses or dies, the next one is asked.
4. *Served*: the new app server has what was kept, and everything from then on. The former one still gets the
   acks that it waits for.

While a client moves, the move is the client's `channel`: an app server's link passes on what is for such a
client."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import Enum
from typing import Final, Protocol

from moorage.engine.upgrade import State
from moorage.hub.handover.sockets import Left, Made, made_of
from moorage.hub.hub import BURST, LINK, MOVE, AppServer, Connection
from moorage.wire.groups import room_group
from moorage.wire.reasons import Reason
from moorage.wire.socketio import parse_header

READ_BYTES: Final = 64 * 1024
"""Bytes of one client that are kept before it is not read any more. Until then acks are found among them."""

_MESSAGE: Final = ord("4")
_ACKS: Final = (b"43", b"46")
_DISCONNECT: Final = b"41"
Note = Callable[[AppServer], object]
"""Tells an app server something about the client besides its packets."""


class Stage(Enum):
    """See the module's text."""

    FREEZING = 1
    HELD = 2
    OFFERED = 3
    SERVED = 4
    OVER = 5


class End(Enum):
    """How a move ends."""

    MOVED = 1
    RESUMED = 2
    """Its former app server goes on with the client."""
    GONE = 3
    """The client is gone."""


class Owner(Protocol):
    """The moves of one hub."""

    def held(self, move: Move) -> None:
        """The client waits for an app server."""

    def kept(self, move: Move, size: int) -> None:
        """So many bytes more are kept."""

    def read_on(self, connection: Connection) -> None:
        """The client is about to be read again."""

    def served(self, move: Move) -> None:
        """Only acks for the former app server are still due."""

    def over(self, move: Move, end: End) -> None:
        """The move has ended."""


class Move:
    """See the module's text. `since`: when its stage began."""

    __slots__ = (
        "_acks",
        "_channel",
        "_end",
        "_ended",
        "_former_channel",
        "_kept",
        "_left",
        "_pending",
        "_released",
        "_sids",
        "_to_former",
        "connection",
        "former",
        "owner",
        "server",
        "since",
        "size",
        "stage",
        "tried",
    )

    def __init__(self, connection: Connection, owner: Owner, *, acks: int, now: float) -> None:
        """`acks`: the highest ack id to assume of a former app server that does not tell."""
        self.connection = connection
        self.owner = owner
        self.stage = Stage.FREEZING
        self.since = now
        self.former = connection.server
        self._former_channel = connection.channel
        self.server: AppServer | None = None
        """The app server that is asked, or serves."""
        self._channel: object = None
        self.tried: set[AppServer] = set()
        self.size = 0
        """Bytes kept."""
        self._kept: list[bytes | Note] = []
        self._sids = {name: sid for name, sid in connection.session.peer.namespaces.items() if sid}
        self._ended: set[str] = set()
        """Namespaces whose end is among what is kept."""
        self._left: tuple[Left, ...] | None = None
        self._acks = acks
        self._pending: dict[str, set[int]] = {}
        self._to_former = False
        """True if the rest of the current packet is for the former app server."""
        self._end: Reason | None = None
        """Why the client has gone while no app server had it for certain."""
        self._released = False
        """True once the former app server has been told to forget the client."""
        connection.channel = self

    # -- the former app server ------------------------------------------------------------------

    def freeze(self) -> None:
        """Ask the former app server for its last word."""
        assert self.former.mover is not None
        self.former.mover.freeze(self._former_channel)

    def left(self, sockets: Iterable[Left]) -> None:
        """The former app server's last word. It knows no sockets but the client's own."""
        if self.stage is Stage.FREEZING:
            self._left = tuple(one for one in sockets if self._sids.get(one.namespace) == one.sid)
            self._pending = {one.namespace: set(one.pending) for one in self._left if one.pending}
            self._hold()

    def go_on_alone(self) -> None:
        """The former app server is lost without a last word."""
        namespaces = self.connection.session.peer.namespaces
        alive = {name: sid for name, sid in namespaces.items() if sid}
        self._left = tuple(
            Left(name, sid, acks=self._acks)
            for name, sid in self._sids.items()
            if alive.get(name) == sid or name in self._ended
        )
        self._hold()

    def _hold(self) -> None:
        self._stop_reading()
        self.stage = Stage.HELD
        self.owner.held(self)

    @property
    def needs_former(self) -> bool:
        """True until the former app server has said its last word."""
        return self.stage is Stage.FREEZING

    # -- the next app server ----------------------------------------------------------------------

    def offer(self, server: AppServer) -> None:
        """Ask this app server."""
        assert server.mover is not None
        self.stage = Stage.OFFERED
        self.server = server
        self.tried.add(server)
        self._channel = server.mover.adopt(self.connection, self._made())

    def _made(self) -> tuple[Made, ...]:
        return tuple(made_of(one, self.connection.groups) for one in self._left or ())

    def accepted(self) -> None:
        """The app server that was asked serves the client from now on."""
        server, connection = self.server, self.connection
        if self.stage is not Stage.OFFERED or server is None:
            return
        self.release_former()
        if self._end is not None:
            self._leave_tracks_to(server)
            self._close_at(server, self._channel, self._end, End.MOVED)
            return
        self.stage = Stage.SERVED
        self.former.clients.discard(connection)
        server.clients.add(connection)
        connection.server = server
        if connection.hub.recovery is not None and isinstance(self._channel, int):
            connection.hub.recovery.served(connection, self._channel)
        unknown = self._sids.keys() - {one.namespace for one in self._left or ()}
        for item in self._take_kept():
            if connection.session.state == State.CLOSED:
                break
            if not isinstance(item, bytes):
                self._tell(item)
            elif (name := _ended_by(item)) in unknown:
                # Client and former app server ended the socket at the same time.
                unknown.discard(name)
            else:
                self._sort(item)
        self._read_on()
        if self._waits and connection.session.state != State.CLOSED:
            self.owner.served(self)
        else:
            self.finish()

    def _leave_tracks_to(self, server: AppServer) -> None:
        """The client is away and may come back: its data will come from this app server."""
        recovery = self.connection.hub.recovery
        if recovery is not None:
            for name, sid in self._sids.items():
                track = recovery.parked(room_group(name, sid))
                if track is not None:
                    track.server = server

    def release_former(self) -> None:
        """The former app server does not have the client any more: it may leave."""
        assert self.former.mover is not None
        if not self._released:
            self._released = True
            self.former.mover.released(self._former_channel)

    @property
    def may_resume(self) -> bool:
        """The former app server can go on with the client."""
        return not self._released

    def refused(self) -> None:
        """The app server that was asked does not serve the client."""
        if self.stage is not Stage.OFFERED:
            return
        self.server = None
        if self._end is not None and not self._released:
            self._close_at(self.former, self._former_channel, self._end, End.GONE)
            return
        self.stage = Stage.HELD
        self.owner.held(self)

    def withdraw(self) -> None:
        """The app server that was asked takes too long."""
        assert self.server is not None
        assert self.server.mover is not None
        self.server.mover.withdraw(self._channel)
        self.refused()

    def resume(self) -> None:
        """Give the client back to its former app server."""
        self.stage = Stage.OVER
        connection, former = self.connection, self.former
        connection.channel = self._former_channel
        self._tell_to_go_on()
        for item in self._take_kept():
            if connection.session.state == State.CLOSED:
                break
            if isinstance(item, bytes):
                former.link.forward(connection, item)
            else:
                item(former)
        self._read_on()
        self.owner.over(self, End.RESUMED)

    def _tell_to_go_on(self) -> None:
        assert self.former.mover is not None
        self.former.mover.resume(self._former_channel)

    def finish(self) -> None:
        """Everything is for the new app server from now on."""
        self.stage = Stage.OVER
        self.connection.channel = self._channel
        self.owner.over(self, End.MOVED)

    # -- what the link passes on --------------------------------------------------------------------

    def forward(self, packet: bytes) -> None:
        """A packet of the client, or the rest of one."""
        self._sort(packet)
        if self._to_former and self.stage is Stage.SERVED and not self._waits:
            self.finish()

    @property
    def _waits(self) -> bool:
        """True if something for the former app server is due."""
        return bool(self._pending) or (self._to_former and self.connection.session.peer.in_pieces)

    def _sort(self, packet: bytes) -> None:
        if packet[0] == _MESSAGE:
            self._to_former = packet[:2] in _ACKS and self._is_for_former(packet)
        if self._to_former:
            self._pass(self.former, self._former_channel, packet)
        elif self.stage is Stage.SERVED and self.server is not None:
            self._pass(self.server, self._channel, packet)
        else:
            self._keep(packet)

    def _is_for_former(self, ack: bytes) -> bool:
        if self.stage is Stage.FREEZING:
            return True
        header = parse_header(ack)
        pending = self._pending.get(header.namespace)
        if self.stage is not Stage.SERVED or pending is None or header.id not in pending:
            return False
        pending.discard(header.id)
        if not pending:
            del self._pending[header.namespace]
        return True

    def _pass(self, server: AppServer, channel: object, packet: bytes) -> None:
        self.connection.channel = channel
        server.link.forward(self.connection, packet)
        self.connection.channel = self

    def _keep(self, packet: bytes) -> None:
        if (name := _ended_by(packet)) is not None:
            self._ended.add(name)
        self._kept.append(packet)
        self.size += len(packet)
        if self.size > READ_BYTES:
            self._stop_reading()
        self.owner.kept(self, len(packet))

    def moved(self, namespace: str, rooms: tuple[str, ...], *, joined: bool) -> None:
        """Others have changed the rooms of one of its sockets."""
        self._note(lambda server: server.peer.moved(self.connection, namespace, rooms, joined=joined))

    def expelled(self, namespace: str) -> None:
        """Others have ended one of its sockets."""
        self._ended.add(namespace)
        self._note(lambda server: server.peer.left(self.connection, namespace))

    def upgraded(self) -> None:
        """It is on a WebSocket now."""
        self._note(lambda server: server.peer.upgraded(self.connection))

    def _note(self, note: Note) -> None:
        if self.stage is Stage.SERVED:
            self._tell(note)
        else:
            self._kept.append(note)

    def _tell(self, note: Note) -> None:
        assert self.server is not None
        self.connection.channel = self._channel
        note(self.server)
        self.connection.channel = self

    def closed(self, reason: Reason) -> None:
        """The client is gone. Its end is reported to the app server that has it."""
        if self.stage is Stage.OFFERED or (self._released and self.stage is Stage.HELD):
            self._end = reason
        elif self.stage is Stage.SERVED and self.server is not None:
            self._close_at(self.server, self._channel, reason, End.MOVED)
        else:
            self._close_at(self.former, self._former_channel, reason, End.GONE)

    def _close_at(self, server: AppServer, channel: object, reason: Reason, end: End) -> None:
        self.stage = Stage.OVER
        self._take_kept()
        self.connection.channel = channel
        server.link.closed(self.connection, reason)
        self.owner.over(self, end)

    def abandon(self) -> None:
        """No app server has come for a client that is gone."""
        if self.stage is Stage.HELD:
            self.stage = Stage.OVER
            self._take_kept()
            self.owner.over(self, End.GONE)

    # -- reading ----------------------------------------------------------------------------------------

    def _take_kept(self) -> list[bytes | Note]:
        kept, self._kept = self._kept, []
        self.owner.kept(self, -self.size)
        self.size = 0
        return kept

    def _stop_reading(self) -> None:
        if not self.connection.hold(MOVE):
            # It has no transport now: the next one is not read.
            self.connection.held |= MOVE

    def _read_on(self) -> None:
        """Whatever held it back at its former app server does not any more."""
        self.owner.read_on(self.connection)
        self.connection.release(LINK | BURST | MOVE)


def _ended_by(packet: bytes) -> str | None:
    """The namespace that this packet ends."""
    return parse_header(packet).namespace if packet[:2] == _DISCONNECT else None
