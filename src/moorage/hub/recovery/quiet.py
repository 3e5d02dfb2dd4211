"""Quiet recovery: connections that have ended, and whose app servers do not know it. There the sockets live
on without their clients. If a client comes back in time, its socket goes on with the new connection."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import orjson

from moorage.hub.hub import AppServer, Client, Connection
from moorage.hub.recovery.counts import Counts
from moorage.hub.recovery.sockets.log import Entry
from moorage.hub.recovery.sockets.replay import watch_acks
from moorage.hub.recovery.sockets.state import Recovery
from moorage.hub.recovery.sockets.track import Claim, Track
from moorage.hub.turns import AT_ONCE, Job
from moorage.wire.engineio import RS
from moorage.wire.groups import namespace_group
from moorage.wire.reasons import DRAINING, Reason

SocketTrack = Track[Connection]


class Quiet:
    """These connections of all hubs of a node."""

    def __init__(self, counts: Counts, goes_on: Callable[[Connection, str, bytes], None]) -> None:
        self._counts = counts
        self._goes_on = goes_on
        """Called with a connection, a namespace in which it has a socket now, and what its client gets."""
        self._away: dict[Connection, Reason] = {}
        """The connections, with the reason of their end."""

    def parks(self, connection: Connection, reason: Reason) -> bool:
        """A connection has ended. True if its app server must not be told."""
        server = connection.server
        if not (server.quiet and connection.tracks) or server.draining or reason is DRAINING:
            return False
        assert server.returns is not None
        if not server.returns.parked(connection, reason):
            return False
        self._away[connection] = reason
        return True

    @staticmethod
    def home(track: SocketTrack, connection: Connection) -> AppServer | None:
        """The app server of this node to which a connection has to move before the socket can quietly go on
        with it, if it can: it must have no other socket at its own one."""
        former = track.quiet
        if (
            former is None
            or former.server is connection.server
            or len(connection.session.peer.namespaces) > 1
        ):
            return None
        server = former.server
        return server if server.takes_clients and server.mover is not None else None

    def back(
        self, track: SocketTrack, former: Connection, claim: Claim[Connection], found: list[Entry]
    ) -> None:
        """The socket goes on with the new connection. The app server may send to it by the former one until
        it knows."""
        connection = claim.connection
        recovery, server = recovery_of(connection), connection.server
        assert server.returns is not None
        recovery.claim(track, claim)
        connection.session.peer.connected(track.namespace, track.sid)
        recovery.resume(track, connection)
        self._counts.resumed += 1
        self._counts.replayed += len(found)
        watch_acks(connection.session.peer, track, recovery.scribe)
        server.returns.back(connection, track.namespace, track.sid, former)
        server.link.taken(former, partial(recovery.forget, former, track))
        head = b"40" if track.namespace == "/" else b"40%b," % track.namespace.encode()
        answer = head + orjson.dumps({"sid": track.sid, "pid": track.pid})
        self._goes_on(connection, track.namespace, RS.join([answer, *[entry.payload for entry in found]]))

    def tell(self, track: SocketTrack) -> None:
        """The client of a connection that has quietly ended is back elsewhere: its app server is told now,
        and saves the sockets."""
        former = track.quiet
        if former is not None:
            for each in (former.tracks or {}).values():
                if each.quiet is former:
                    each.quiet, each.ended = None, former
            self.emptied(former)

    def emptied(self, former: Connection) -> None:
        """The app server is told of the end of a connection."""
        former.tracks = None
        former.server.link.closed(former, self._away.pop(former))

    def close(self, former: Connection) -> None:
        """The app server closes a client that is away."""
        for track in tuple((former.tracks or {}).values()):
            if track.quiet is former:
                recovery_of(former).end(track)

    def lost(self, server: AppServer) -> Job[None]:
        """An app server is gone, and with it the sockets of its clients that have quietly gone away."""
        for place, former in enumerate([each for each in self._away if each.server is server], 1):
            self.close(former)
            if place % AT_ONCE == 0:
                yield False

    @staticmethod
    def where(client: Client, namespace: str) -> Client:
        """The connection that has the socket which the app server knows by this one."""
        if isinstance(client, Connection) and client.tracks is not None:
            track = client.tracks.get(namespace_group(namespace))
            if track is not None and track.connection is not None:
                return track.connection
        return client


def recovery_of(connection: Connection) -> Recovery[Connection]:
    """The recovery of a connection's hub, which has it."""
    recovery = connection.hub.recovery
    assert recovery is not None
    return recovery


def is_served(former: Connection) -> bool:
    """True if the app server of a connection that has ended is there."""
    return former.server in former.hub.servers.all()
