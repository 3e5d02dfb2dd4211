"""All watches of one node. While there is none, nothing here is called by anything but `tick`: the first
watch replaces the observer, parts of chosen connections and, for a room, what carries out emits, and the last
one puts everything back."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any, Final, NamedTuple

from moorage.engine.upgrade import State as SessionState
from moorage.hub.commands.selecting import parts
from moorage.hub.hub import Connection, Hub
from moorage.hub.node import Node
from moorage.hub.rates import Bucket, Rate
from moorage.hub.trace.describe import clean
from moorage.hub.trace.emits import Emits
from moorage.hub.trace.observing import TracedObserver
from moorage.hub.trace.rooms import RoomWatches
from moorage.hub.trace.shown import show, user_of
from moorage.hub.trace.tap import Entry, Tap
from moorage.hub.trace.watch import MAX_TAPS, Watch, indexed
from moorage.hub.turns import Intake, Job, finished
from moorage.wire.commands import EVERYONE
from moorage.wire.errors import PeerError
from moorage.wire.trace.scope import Scope
from moorage.wire.trace.seen import Direction, Seen, State

DELIVERIES: Final = Rate(per_second=2_000.0, burst=2_000.0)
"""Packets that all watches of a node may see together, each watch counted."""
MAX_HELD: Final = 8 * 1024 * 1024
"""Maximum bytes of packets that wait to be described. Most of them are also in an outbox."""
AT_ONCE: Final = 100
"""Packets that are described in one step. Each takes about 10 us."""
MAX_ENTRIES: Final = 5_000
"""Maximum packets and changes that wait to be described."""


class Happened(NamedTuple):
    """A change of a client, in order with its packets."""

    state: State
    watches: tuple[Watch, ...]
    tap: Tap | None = None


class Taken(NamedTuple):
    """What one watch has seen since the last time."""

    events: tuple[Seen, ...]
    dropped: int
    connections: int
    limited: bool


class Tracer:
    """`hub.trace.tap.Listener`. `wall` gives seconds since 1970."""

    def __init__(self, node: Node, wall: Callable[[], float]) -> None:
        self._node = node
        self._wall = wall
        self._watches: dict[str, Watch] = {}
        self._taps: dict[Connection, Tap] = {}
        self._rooms = RoomWatches(self._moved)
        node.hub_made = self._cover
        self._emits = Emits(node, self._rooms, self._emitted)
        self._chores = Intake(node.turns)
        self._entries: list[Entry | Happened] = []
        self._held = 0
        self._bucket = Bucket(DELIVERIES, node.clock())

    def __len__(self) -> int:
        """Number of watches."""
        return len(self._watches)

    # -- watches ------------------------------------------------------------------------------------

    def start(self, watch_id: str, scope: Scope) -> None:
        """Begin a watch. A second one with the same id has no effect."""
        if watch_id in self._watches:
            return
        node = self._node
        if not self._watches:
            node.observer = TracedObserver(node.observer, self)
            node.flusher.backlog.tapped = self._sent
        watch = self._watches[watch_id] = Watch(watch_id, scope, node.clock())
        if watch.group:
            self._rooms.add(watch)
            self._emits.attach()
            self._cover()
            return
        for hub in filter(lambda hub: watch.in_hub(hub.name), tuple(node.hubs.values())):
            found = indexed(hub, watch)
            if found is None:
                self._chores.add(self._scan(hub, watch))
            else:
                self._follow(watch, found)

    def stop(self, watch_id: str) -> None:
        """End a watch, if it exists."""
        watch = self._watches.pop(watch_id, None)
        if watch is None:
            return
        if watch.group:
            self._rooms.remove(watch)
            if not self._rooms:
                self._emits.detach()
        for connection in tuple(watch.followed):
            self._unfollow(watch, self._taps[connection])
        if not self._watches:
            observer = self._node.observer
            assert isinstance(observer, TracedObserver)
            self._node.observer = observer.plain
            self._entries.clear()
            self._held = 0

    def take(self, watch_id: str) -> Taken:
        """What a watch has seen since the last call."""
        watch = self._watches[watch_id]
        events, dropped = watch.take()
        return Taken(events, dropped, len(watch.followed), watch.limited)

    def tick(self) -> None:
        """Describe what has passed, and look at hubs and app servers that have changed. Call it a few times a
        second."""
        entries, self._entries, self._held = self._entries, [], 0
        described = self._describe(entries, self._wall() - self._node.clock())
        # What is still being described comes first.
        if len(entries) <= AT_ONCE and not len(self._chores):
            finished(described)
        else:
            self._chores.add(described)
        for watch in self._watches.values():
            if watch.scope.app_server:
                self._refresh(watch)

    def _describe(self, entries: list[Entry | Happened], offset: float) -> Job[None]:
        for start in range(0, len(entries), AT_ONCE):
            for entry in entries[start : start + AT_ONCE]:
                if isinstance(entry, Entry):
                    show(entry, offset)
                else:
                    _tell(entry)
            yield False

    def _cover(self) -> None:
        for hub, watch in self._rooms.cover(self._node.hubs.values()):
            self._follow(watch, indexed(hub, watch) or ())

    def _refresh(self, watch: Watch) -> None:
        """Follow the clients that have moved to the watched app server."""
        for hub in self._node.hubs.values():
            if watch.in_hub(hub.name) and not watch.limited:
                self._follow(watch, indexed(hub, watch) or ())

    def _scan(self, hub: Hub, watch: Watch) -> Job[None]:
        for part in parts(hub.directory, EVERYONE):
            if watch.limited or watch.id not in self._watches:
                return
            self._follow(watch, filter(watch.wants, part))
            yield False

    # -- connections --------------------------------------------------------------------------------

    def _follow(self, watch: Watch, connections: Iterable[Connection]) -> None:
        """Follow these connections, up to the limit of the watch. Some may be followed already, so at most
        twice the limit are checked."""
        for connection in tuple(islice(connections, 2 * MAX_TAPS)):
            if connection in watch.followed:
                continue
            if len(watch.followed) >= MAX_TAPS:
                watch.limited = True
                return
            tap = self._taps.get(connection)
            if tap is None:
                tap = self._taps[connection] = Tap(connection, self)
            tap.watches = (*tap.watches, watch)
            watch.followed.add(connection)

    def _unfollow(self, watch: Watch, tap: Tap) -> None:
        watch.followed.discard(tap.connection)
        tap.watches = tuple(each for each in tap.watches if each is not watch)
        if not tap.watches:
            del self._taps[tap.connection]
            tap.release()

    def _moved(self, watch: Watch, connection: Connection, *, joined: bool) -> None:
        """A connection has joined or left a watched room."""
        if joined:
            self._follow(watch, (connection,))
        elif connection.session.state == SessionState.CLOSED:
            # `closed` follows, with the reason.
            return
        state = self._state(connection, "joined" if joined else "left")
        state.namespace, state.room = watch.scope.namespace, watch.scope.room or ""
        self._happened(state, (watch,))
        if not joined and connection in watch.followed:
            self._unfollow(watch, self._taps[connection])

    # -- what passes --------------------------------------------------------------------------------

    def _sent(self, connection: Connection, entry: bytes) -> None:
        self.passed(self._taps[connection], "out", entry, framed=connection.outbox.framed)

    def passed(self, tap: Tap, direction: Direction, data: bytes, *, framed: bool) -> None:
        """`Listener.passed`. An emit to a watched room is seen once, not once for each of its members."""
        connection = tap.connection
        if tap.app_server != connection.server.id or tap.framed < connection.outbox.framed:
            self._changed(tap)
        wanted = [watch for watch in tap.watches if direction == "in" or not watch.group]
        now = self._node.clock()
        if watches := self._admitted(wanted, len(data), now):
            hub, server = connection.hub.name, connection.server.id
            self._entries.append(Entry(now, direction, data, framed, hub, server, watches, tap))

    def _emitted(self, hub: Hub, payload: bytes, app_server: str, reached: int, to: list[Watch]) -> None:
        now = self._node.clock()
        if watches := self._admitted(to, len(payload), now):
            entry = Entry(now, "out", payload, False, hub.name, app_server, watches, None, reached)
            self._entries.append(entry)

    def _admitted(self, wanted: list[Watch], size: int, now: float) -> tuple[Watch, ...]:
        """The watches that may see a packet of `size` bytes."""
        found = tuple([watch for watch in wanted if watch.admits(now) and self._affords(watch, size, now)])
        if found:
            self._held += size
        return found

    def _affords(self, watch: Watch, size: int, now: float) -> bool:
        if self._held + size <= MAX_HELD and self._bucket.take(now):
            return True
        watch.dropped += 1
        return False

    def _changed(self, tap: Tap) -> None:
        """The transport or the app server of a connection is another one than before."""
        connection = tap.connection
        if tap.framed < connection.outbox.framed:
            tap.framed = True
            self._tell(tap, self._state(connection, "upgraded"))
        if tap.app_server != connection.server.id:
            tap.app_server = connection.server.id
            self._tell(tap, self._state(connection, "moved"))
            for watch in tap.watches:
                if not watch.follows(connection):
                    self._unfollow(watch, tap)

    # -- what happens -------------------------------------------------------------------------------

    def _state(self, connection: Connection, state: str, **more: Any) -> State:
        return State(
            self._wall(),
            connection.hub.name,
            connection.id,
            user_of(connection.user_id),
            connection.server.id,
            state,
            transport="websocket" if connection.outbox.framed else "polling",
            **more,
        )

    def _tell(self, tap: Tap, state: State) -> None:
        ended = state.state == "closed"
        self._happened(state, tuple([watch for watch in tap.watches if ended or not watch.group]), tap)

    def _happened(self, state: State, watches: tuple[Watch, ...], tap: Tap | None = None) -> None:
        if len(self._entries) < MAX_ENTRIES:
            self._entries.append(Happened(state, watches, tap))
            return
        for watch in watches:
            watch.dropped += 1

    def grouped(self, tap: Tap, namespace: str, room: str, *, joined: bool) -> None:
        """`Listener.grouped`."""
        state = "joined" if joined else "left"
        self._tell(tap, self._state(tap.connection, state, namespace=namespace, room=room))

    def opened(self, connection: Connection, transport: str) -> None:
        """A client has a session now."""
        for watch in self._watches.values():
            if not watch.group and watch.wants(connection):
                self._follow(watch, (connection,))
        tap = self._taps.get(connection)
        if tap is not None:
            # It has no transport yet.
            tap.framed = transport == "websocket"
            state = self._state(connection, "opened")
            state.transport = transport
            self._tell(tap, state)

    def socket(self, connection: Connection, namespace: str, *, joined: bool) -> None:
        """A client has a socket in a namespace, or none any more."""
        tap = self._taps.get(connection)
        if tap is not None:
            self._tell(tap, self._state(connection, "joined" if joined else "left", namespace=namespace))

    def closed(self, connection: Connection, **how: Any) -> None:
        """A session has ended. `how` are the fields of the state."""
        tap = self._taps.get(connection)
        if tap is not None:
            self._tell(tap, self._state(connection, "closed", **how))
            for watch in tap.watches:
                self._unfollow(watch, tap)

    def refused(self, hub: str, user: str | None, error: PeerError, *, claimed: bool = False) -> None:
        """A client is refused. `claimed`: its user id comes from a token that is not valid."""
        watches = tuple([watch for watch in self._watches.values() if watch.wants_refused(hub, user)])
        if watches:
            state = State(self._wall(), hub, "", user_of(user), "", "refused", claimed=claimed)
            state.reason, state.number = error.reason.name, error.reason.number
            state.detail = clean(error.detail)
            self._happened(state, watches)


def _tell(happened: Happened) -> None:
    state = happened.state
    if happened.tap is not None and state.namespace:
        state.socket = happened.tap.sid(state.namespace)
    for watch in happened.watches:
        watch.add(state)
