"""Clients that come back: a CONNECT with the `pid` of a socket *claims* it. The claim lasts until the app
server has answered the CONNECT. Until then the socket is parked, so a client that goes away again loses
nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Final
from weakref import WeakValueDictionary

from moorage.engine.peer import Connect
from moorage.engine.upgrade import State
from moorage.hub.hub import AppServer, Client, Connection, Hub
from moorage.hub.ports import Elsewhere, Interest, Recovered, Returns, Wanted
from moorage.hub.recovery.causes import (
    CAUSES,
    DROPPED,
    ELSEWHERE,
    FOREIGN,
    OFFSET,
    UNKNOWN,
    UNSAVED,
    UNSUPPORTED,
)
from moorage.hub.recovery.counts import Counts
from moorage.hub.recovery.quiet import Quiet, is_served, recovery_of
from moorage.hub.recovery.sockets.log import Entry
from moorage.hub.recovery.sockets.replay import again, can_return, missed_by, position_of, watch_acks
from moorage.hub.recovery.sockets.state import Recovery
from moorage.hub.recovery.sockets.track import Claim, Track
from moorage.hub.settings import RecoverySettings
from moorage.hub.turns import Job
from moorage.wire.engineio import RS
from moorage.wire.groups import namespace_group, room_group, room_of
from moorage.wire.reasons import (
    APP_LET_GO,
    CLIENT_CLOSED,
    DRAINING,
    EVENTS_LOST,
    INTERNAL,
    LINK_OVERFLOW,
    MISSED_TOO_MUCH,
    PING_TIMEOUT,
    RETURNED,
    SLOW_CLIENT,
    TRANSPORT_LOST,
    UPGRADE_TIMEOUT,
    Reason,
)
from moorage.wire.recovery.offsets import Return, returning, with_pid
from moorage.wire.socketio import Header, is_json

SAVE_SECONDS: Final = 5.0
"""How long a claim waits for the socket's data, which its app server sends after the end of the former
connection."""
EPOCH: Final = 8
"""Characters of the random name of a delivery log."""

PARKING: Final = frozenset(
    (TRANSPORT_LOST, CLIENT_CLOSED, PING_TIMEOUT, SLOW_CLIENT, UPGRADE_TIMEOUT, LINK_OVERFLOW, INTERNAL)
) | {DRAINING, APP_LET_GO, RETURNED, EVENTS_LOST, MISSED_TOO_MUCH}
"""The ends of a connection after which its client may come back to its sockets."""

SocketTrack = Track[Connection]
Refused = Callable[[Connection, str, str], object]
"""Called with the connection, its namespace, and the cause."""
Bring = Callable[[Connection, AppServer, Callable[[AppServer], object]], object]


class Claims:
    """The claims of all hubs of a node. `end` closes a connection. `goes_on`: see `quiet.Quiet`. `bring` lets
    another app server take a connection that has no sockets, and calls back with the app server that has it
    then."""

    def __init__(
        self,
        new_pid: Callable[[], str],
        clock: Callable[[], float],
        end: Callable[[Connection, Reason], None],
        goes_on: Callable[[Connection, str, bytes], None],
        bring: Bring,
    ) -> None:
        self.new_pid = new_pid
        self.is_genuine: Callable[[str], bool] = lambda pid: True
        """False for a `pid` that no node can have made."""
        self._clock = clock
        self._end = end
        self._bring = bring
        self.counts = Counts()
        self.quiet = Quiet(self.counts, goes_on)
        """Connections whose end the app server does not know."""
        self.session_changed: Callable[[Hub, str, bool], object] = lambda hub, instance, up: None
        """Called for each session of an app server at this node that begins or is over."""
        self.came_elsewhere: Callable[[str, str], object] = lambda hub, instance: None
        """Called with a hub and the instance of an app server that has a session at another node now."""
        self.gone_elsewhere: Callable[[str], object] = lambda instance: None
        """Called with the instance of an app server whose session at another node is over."""
        self.elsewhere: Elsewhere | None = None
        """The other nodes, which may have sockets of clients that come here."""
        self.saved: Callable[[SocketTrack], object] = _nothing
        """Called for each socket whose data has come."""
        self.unsaved: Callable[[AppServer, str, str, bytes], object] = _not_here
        """Called with the data of sockets that are not at this node, and with their app server, namespace and
        id."""
        self._fetching: dict[str, tuple[Connection, Connect]] = {}
        """Clients whose sockets come from other nodes, by the `pid`."""
        self._coming: WeakValueDictionary[str, Connection] = WeakValueDictionary()
        """Connections that move to the app servers of their sockets before they claim them, by the `pid`."""
        self._waiting: dict[SocketTrack, Claim[Connection]] = {}
        """Claims of sockets whose data has not come yet."""
        self.refused: Refused = _nobody
        """Called for each client that gets a new session instead of its former one."""

    def turn_on(
        self,
        hub: Hub,
        server: AppServer,
        returns: Returns[Client],
        seconds: float,
        *,
        quiet: bool = False,
        settings: RecoverySettings,
        news: Interest | None,
        linked: bool = True,
    ) -> None:
        """The sockets of this app server may be recovered if their clients are away for at most `seconds`, as
        far as the settings allow. `quiet`: it is not told if they come back in time. `linked`: it has a link
        to this node."""
        seconds = min(seconds or settings.recovery_default_disconnection, settings.recovery_max_disconnection)
        if seconds > 0:
            server.returns, server.recovery, server.quiet = returns, seconds, quiet
            if hub.recovery is None:
                epoch = self.new_pid()[-EPOCH:]
                hub.recovery = Recovery(
                    hub.name, epoch, settings, hub.directory, news, counts=self.counts, now=self._clock()
                )
                hub.recovery.emptied = self.quiet.emptied
        if linked:
            self.session_changed(hub, server.instance, True)
        else:
            self.came_elsewhere(hub.name, server.instance)

    def tick_hub(self, hub: Hub, now: float) -> None:
        """Time passes in a hub with recovery, which ends with the last socket and app server that have it."""
        recovery = hub.recovery
        assert recovery is not None
        recovery.tick(now)
        servers = (*hub.servers.all(), *hub.servers.elsewhere)
        unused = recovery.is_empty and not any([server.returns for server in servers])
        if unused and recovery.log.shrink():
            recovery.close(hub.name)
            hub.recovery = None

    def connect(self, connection: Connection, connect: Connect, *, moves: bool = True) -> bool:
        """A client connects to a namespace of a hub with recovery. Returns True if it claims a socket. If
        not, its packet has to be forwarded, and it gets a new one. `moves`: the connection may move to the
        app server that has the socket's object."""
        asked = returning(connect.packet, connect.header)
        if asked is None:
            return False
        recovery = recovery_of(connection)
        track = recovery.find(asked.pid)
        elsewhere = None if connection.server.returns is None else self.elsewhere
        if track is None and elsewhere is not None and self.is_genuine(asked.pid):
            return self._fetch(elsewhere, connection, connect, asked)
        return self._connect(connection, connect, asked, UNKNOWN, moves=moves)

    def brought(self, connection: Connection, connect: Connect, server: AppServer) -> None:
        """The rest of `connect`, when an app server has the connection."""
        asked, session = returning(connect.packet, connect.header), connection.session
        if asked is not None and self._coming.get(asked.pid) is connection:
            del self._coming[asked.pid]
        if session.state == State.CLOSED or connect.header.namespace not in session.peer.namespaces:
            return
        if connection.hub.recovery is None or not self.connect(connection, connect, moves=False):
            server.link.forward(connection, connect.packet)

    def _fetch(self, elsewhere: Elsewhere, connection: Connection, connect: Connect, asked: Return) -> bool:
        """Let the socket come from another node."""
        pid, fetching = asked.pid, self._fetching
        former = fetching.get(pid)
        fetching[pid] = connection, connect
        if former is not None:
            if former[0] is not connection:
                self._end(former[0], RETURNED)
            return True
        wanted = Wanted(connection.hub.name, pid, connect.header.namespace, connection.user_id, asked.offset)

        def done(cause: str) -> None:
            again, packet = fetching.pop(pid)
            if (
                again.session.state != State.CLOSED
                and packet.header.namespace in again.session.peer.namespaces
            ):
                if cause == ELSEWHERE:
                    self._end(again, RETURNED)
                    return
                found = returning(packet.packet, packet.header)
                if found is None or not self._connect(again, packet, found, cause):
                    again.server.link.forward(again, packet.packet)

        elsewhere.fetch(wanted, done)
        return True

    def _connect(
        self, connection: Connection, connect: Connect, asked: Return, unknown: str, *, moves: bool = False
    ) -> bool:
        """As `connect`. `unknown` is the cause if the socket is not at this node."""
        recovery = recovery_of(connection)
        track = recovery.find(asked.pid)
        if track is not None and track.quiet is not None and not is_served(track.quiet):
            # Its turn in `lost` comes later.
            recovery.end(track)
            track = None
        cause = unknown or UNKNOWN
        if track is not None:
            after = position_of(recovery.log, track, asked.offset)
            if track.namespace != connect.header.namespace or track.user_id != connection.user_id:
                cause = FOREIGN
            elif after is None:
                cause = OFFSET
            elif connection.server.returns is None:
                cause = UNSUPPORTED
            else:
                self.end_former(track)
                if moves and (home := self.quiet.home(track, connection)) is not None:
                    self._coming[track.pid] = connection
                    self._bring(connection, home, partial(self.brought, connection, connect))
                    return True
                claim = Claim(connection, connect, after)
                if track.quiet is not None and track.quiet.server is connection.server:
                    found = missed_by(recovery.log, track, after)
                    if found is not None:
                        self.quiet.back(track, track.quiet, claim, found)
                        return True
                elif can_return(recovery.log, track, after):
                    self.quiet.tell(track)
                    self._claim(track, claim)
                    return True
                cause = DROPPED
                recovery.end(track)
        self._refuse(connection, connect, cause)
        return False

    def _refuse(self, connection: Connection, connect: Connect, cause: str) -> None:
        self.counts.refused[cause] += 1
        self.refused(connection, connect.header.namespace, cause)

    def end_former(self, track: SocketTrack) -> None:
        """A client has one connection. If it comes back before the end of the former one was noticed, or a
        second time, the latest one gets the socket."""
        former = track.connection if track.claim is None else track.claim.connection
        for each in (former, self._coming.pop(track.pid, None)):
            if each is not None:
                self._end(each, RETURNED)

    def give(self, track: SocketTrack) -> None:
        """Another node asks for a socket: its connection ends, and its app server saves it."""
        self.end_former(track)
        self.quiet.tell(track)

    def lost(self, hub: Hub, server: AppServer) -> Job[None]:
        """An app server is gone."""
        if server.node:
            self.gone_elsewhere(server.instance)
        else:
            self.session_changed(hub, server.instance, False)
        yield from self.quiet.lost(server)

    def _claim(self, track: SocketTrack, claim: Claim[Connection]) -> None:
        recovery_of(claim.connection).claim(track, claim)
        if track.data is None:
            claim.deadline = self._clock() + SAVE_SECONDS
            self._waiting[track] = claim
        else:
            _recover(track, claim)

    def save(self, hub: Hub, server: AppServer, namespace: str, sid: str, data: bytes) -> None:
        """An app server sends the data of a socket whose client is away. Ignored if it is not its socket, or
        if it is not JSON."""
        recovery = hub.recovery
        track = None if recovery is None else recovery.parked(room_group(namespace, sid))
        # Another app server may get the data, and must be able to read it.
        bad = bool(data) and not is_json(data)
        if track is None and not bad:
            self.unsaved(server, namespace, sid, data)
        if recovery is None or track is None or track.server.id != server.id or bad:
            return
        track.ended = None
        if not recovery.away.keep(track, data, recovery.log.settings):
            recovery.lacks(track)
        elif recovery.scribe is not None:
            recovery.scribe.saved(track)
        self.saved(track)
        claim = self._waiting.pop(track, None)
        if claim is not None and claim is track.claim:
            claim.deadline = None
            _recover(track, claim)

    def answered(self, connection: Connection, packet: bytes, header: Header, sid: str) -> bytes | None:
        """The app server has answered a CONNECT. Returns what the client gets: the answer, and after it what
        it has missed. None if something that it has missed was dropped meanwhile."""
        server, recovery = connection.server, recovery_of(connection)
        if server.returns is None:
            return packet
        namespace = header.namespace
        track = None if connection.tracks is None else connection.tracks.get(namespace_group(namespace))
        claim = None if track is None else track.claim
        if track is None or claim is None or track.sid != sid:
            if track is not None:
                recovery.end(track)
                if claim is not None:
                    _enter(connection, namespace, sid)
            track = recovery.begin(connection, namespace, sid, self.new_pid(), server.recovery)
            found: list[Entry] = []
        else:
            lost = missed_by(recovery.log, track, claim.after)
            if lost is None:
                # The connection ends. When the client is back, it is told the cause.
                recovery.lacks(track)
                return None
            found = lost
            recovery.resume(track, connection)
            self.counts.resumed += 1
            self.counts.replayed += len(found)
        watch_acks(connection.session.peer, track, recovery.scribe)
        missed = again(connection.hub.invocations.begin, track, found)
        return RS.join([with_pid(packet, header, track.pid), *missed])

    def knows(self, connection: Connection, namespace: str) -> bool:
        """True if the app server knows of the client's CONNECT."""
        track = None if connection.tracks is None else connection.tracks.get(namespace_group(namespace))
        return track is None or track.claim is None or track.claim.deadline is None

    def leave(self, connection: Connection, namespace: str) -> None:
        """The client or an app server has ended the socket, or its app server has refused it."""
        track = None if connection.tracks is None else connection.tracks.get(namespace_group(namespace))
        if track is not None:
            recovery_of(connection).end(track)

    def gone(self, connection: Connection, reason: Reason) -> bool:
        """A connection with recoverable sockets has ended. Returns True if its app server must not be told:
        there the sockets live on without their client."""
        recovery = recovery_of(connection)
        for track in tuple((connection.tracks or {}).values()):
            if track.claim is not None:
                recovery.unclaim(track)
                if track.dismissed:
                    recovery.end(track)
            elif reason not in PARKING:
                recovery.end(track)
        quiet = self.quiet.parks(connection, reason)
        recovery.park(connection, quiet=quiet)
        return quiet

    def seen(self, hubs: Iterable[Hub]) -> tuple[int, int, int, int, int, int, int, dict[str, int], int, int]:
        """Parked sockets, kept events and bytes, and the counts, in the order of `Counts`. Causes without a
        refusal are 0."""
        counts = self.counts
        kept = [hub.recovery for hub in hubs if hub.recovery is not None]
        return (
            sum([len(recovery.away) for recovery in kept]),
            sum([recovery.log.events for recovery in kept]),
            sum([recovery.log.bytes for recovery in kept]),
            counts.parked,
            counts.resumed,
            counts.replayed,
            counts.dropped,
            dict.fromkeys(CAUSES, 0) | counts.refused,
            counts.moved,
            counts.incomplete,
        )

    def tick(self, now: float) -> None:
        """End the claims whose data has not come in time: the clients get new sockets."""
        for track, claim in tuple(self._waiting.items()):
            if track.claim is not claim:
                del self._waiting[track]
            elif claim.deadline is not None and claim.deadline <= now:
                del self._waiting[track]
                recovery_of(claim.connection).end(track)
                self._refuse(claim.connection, claim.connect, UNSAVED)
                claim.connection.server.link.forward(claim.connection, claim.connect.packet)


def _nobody(connection: Connection, namespace: str, cause: str) -> None:
    """Report nothing."""


def _not_here(server: AppServer, namespace: str, sid: str, data: bytes) -> None:
    """Ignore the data: no other node may have the socket."""


def _nothing(track: SocketTrack) -> None:
    """Ignore the socket."""


def _enter(connection: Connection, namespace: str, sid: str) -> None:
    """A new socket takes the place of a claimed one, which has been joined to its groups instead."""
    rooms = connection.hub.directory.rooms
    rooms.join(connection, namespace_group(namespace))
    rooms.join(connection, room_group(namespace, sid), private=True)


def _recover(track: SocketTrack, claim: Claim[Connection]) -> None:
    returns = claim.connection.server.returns
    assert returns is not None
    found = [room_of(group) for group in track.groups if group != track.private]
    rooms = tuple(room for namespace, room in filter(None, found) if namespace == track.namespace)
    socket = Recovered(claim.connect.packet, track.namespace, track.sid, rooms, track.data or b"")
    returns.recover(claim.connection, socket)
