"""Parked sockets that move between nodes. `Gifts` is the side of the node that has one, `Expected` that of
the node to which a client has come. What the two tell each other is in `wire.recovery.moving`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from moorage.hub.hub import Connection, Hub
from moorage.hub.recovery.causes import DROPPED, ELSEWHERE, FOREIGN, OFFSET, UNKNOWN, UNSAVED
from moorage.hub.recovery.sockets.carried import missed
from moorage.hub.recovery.sockets.replay import can_return, identities, missed_by, position_of, start_of
from moorage.hub.recovery.sockets.state import Recovery
from moorage.hub.recovery.sockets.track import Track
from moorage.wire.recovery.moving import Asked, Denied, More, Offered, Segment, Take, Taken
from moorage.wire.recovery.offsets import parse_offset

OFFER_SECONDS = 10.0
"""Seconds for which an offer holds. By then the other node has taken the socket, or does not want it."""
SAVE_SECONDS = 5.0
"""Seconds for which an offer waits for the socket's data. The app server sends it after the end of the
connection."""
LENT_SECONDS = 15.0
"""How long this node keeps a socket that another one has taken, if that one does not say that it has stored
it. It is longer than a node waits until it can go on with the socket."""
SEEN_SECONDS = 30.0
"""Maximum seconds between the moments at which two nodes carry out the same emit."""

SocketTrack = Track[Connection]
Answer = Callable[[Offered | Denied], object]


class Given(NamedTuple):
    """A socket that belongs to another node now. The fields are those of `Taken`."""

    groups: tuple[str, ...]
    left: tuple[str, ...]
    segments: tuple[Segment, ...]
    whole: bool
    seen: tuple[tuple[str, int], ...]


class _Offer:
    """`after`: position in the log from which on the client has missed events."""

    def __init__(
        self, node: str, asked: Asked, after: int, *, events: int, until: float, answer: Answer
    ) -> None:
        self.node = node
        self.asked = asked
        self.events = events
        """Maximum number of events that the client may have missed."""
        self.after = after
        self.until = until
        self.answer = answer
        self.open = True
        """True until it is answered."""


class Gifts:
    """The sockets of this node that other nodes ask for. `end_former` ends the connection of a socket whose
    client has come back elsewhere."""

    def __init__(
        self,
        hubs: Mapping[str, Hub],
        clock: Callable[[], float],
        end_former: Callable[[SocketTrack], object],
    ) -> None:
        self._hubs = hubs
        self._clock = clock
        self._end_former = end_former
        self._offers: dict[SocketTrack, _Offer] = {}
        self.lends = False
        """True if other nodes store sockets, and say so (`kept`)."""
        self._lent: dict[tuple[str, str], tuple[str, float]] = {}
        """Sockets that other nodes have taken and not stored, by hub and `pid`: the node, and the time until
        which that is awaited."""

    def ask(self, node: str, asked: Asked, answer: Answer) -> None:
        """Another node asks for a socket. The answer comes once the socket's data is there."""
        found = self._find(asked.hub, asked.pid)
        if found is None:
            answer(Denied(asked.number, UNKNOWN))
            return
        recovery, track = found
        if asked.whole and track.carried is not None:
            track.carried.prepare(None, whole=True)
        after = (
            start_of(recovery.log, track) if asked.whole else position_of(recovery.log, track, asked.offset)
        )
        cause = _cause(asked, track, after)
        if after is None or cause:
            answer(Denied(asked.number, cause))
            return
        self._end_former(track)
        if not can_return(recovery.log, track, after):
            if not asked.whole:
                recovery.end(track)
            answer(Denied(asked.number, DROPPED))
            return
        # A later question replaces an earlier one: the client has one connection, the last.
        former = self._offers.get(track)
        if former is not None and former.node != node:
            former.answer(Denied(former.asked.number, ELSEWHERE))
        events = recovery.log.settings.recovery_session_events
        until = self._clock() + SAVE_SECONDS
        self._offers[track] = offer = _Offer(node, asked, after, events=events, until=until, answer=answer)
        if track.data is not None:
            self._answer(track, offer)

    def saved(self, track: SocketTrack) -> None:
        """The data of a socket is here."""
        offer = self._offers.get(track)
        if offer is not None and offer.open:
            self._answer(track, offer)

    def _answer(self, track: SocketTrack, offer: _Offer) -> None:
        offer.open = False
        offer.until = self._clock() + OFFER_SECONDS
        offer.answer(
            Offered(
                offer.asked.number,
                track.pid,
                track.namespace,
                track.sid,
                track.id,
                track.user_id,
                track.server.id,
                track.lasts,
                tuple(track.groups),
                track.data or b"",
                offer.events,
            )
        )

    def take(self, node: str, take: Take, executed: Mapping[str, int]) -> Given | More | Denied:
        """The other node takes the socket. Everything that it had carried out for its groups before it joined
        them has been carried out here, too. `executed`: how far the commands of each app server are here."""
        found = self._find(take.hub, take.pid)
        offer = None if found is None else self._offers.get(found[1])
        if found is None or offer is None or (offer.node, offer.asked.number) != (node, take.number):
            return Denied(take.number, UNKNOWN)
        recovery, track = found
        if track.connection is not None or track.claim is not None:
            del self._offers[track]
            return Denied(take.number, ELSEWHERE)
        if not track.groups <= set(take.groups):
            return More(take.number, tuple(track.groups))
        del self._offers[track]
        events = missed_by(recovery.log, track, offer.after)
        if events is None:
            recovery.end(track)
            return Denied(take.number, DROPPED)
        carried, log = track.carried, recovery.log
        segments: list[Segment] = []
        own = 0
        if carried is not None:
            own = carried.end
            if offer.after <= own:
                offset = offer.asked.offset
                place = None if offset is None else parse_offset(offset)
                segments = carried.segments(offer.after, place, track.unacked)
        whole = offer.after == track.since and (carried is None or carried.whole)
        events = [entry for entry in events if entry.position > own]
        segments.append(Segment(log.epoch, max(own, offer.after), log.position, missed(events)))
        known = identities(recovery.log, track, recovery.now - SEEN_SECONDS)
        given = Given(
            tuple(track.groups),
            tuple(set(take.groups) - track.groups),
            tuple(segments),
            whole,
            tuple(each for each in known if each[1] > executed.get(each[0], 0)),
        )
        recovery.counts.moved += 1
        if self.lends:
            recovery.lend(track)
            self._lent[take.hub.casefold(), track.pid] = node, self._clock() + LENT_SECONDS
        else:
            recovery.end(track)
        return given

    def kept(self, hub: str, pid: str) -> None:
        """The node that has taken a socket has stored it, or offers it again."""
        if self._lent.pop((hub.casefold(), pid), None) is not None:
            recovery = self._recovery(hub)
            if recovery is not None:
                recovery.give_away(pid)

    def gone(self, node: str) -> None:
        """A node is lost. What it had taken and not stored is here."""
        for (hub, pid), (taker, _) in tuple(self._lent.items()):
            if taker == node:
                del self._lent[hub, pid]
                recovery = self._recovery(hub)
                if recovery is not None:
                    recovery.take_back(pid)

    def tick(self, now: float) -> None:
        """Offers that nobody has taken end, and those whose data has not come in time."""
        for track, offer in tuple(self._offers.items()):
            if offer.until <= now:
                del self._offers[track]
                if offer.open:
                    offer.answer(Denied(offer.asked.number, UNSAVED))
        for (hub, pid), (_, until) in tuple(self._lent.items()):
            if until <= now:
                self.kept(hub, pid)

    def _find(self, hub_name: str, pid: str) -> tuple[Recovery[Connection], SocketTrack] | None:
        recovery = self._recovery(hub_name)
        track = None if recovery is None else recovery.find(pid)
        return None if recovery is None or track is None else (recovery, track)

    def _recovery(self, hub_name: str) -> Recovery[Connection] | None:
        hub = self._hubs.get(hub_name.casefold())
        return None if hub is None else hub.recovery


def _cause(asked: Asked, track: SocketTrack, after: int | None) -> str:
    if asked.whole:
        return UNKNOWN if track.connection is not None or track.claim is not None else ""
    if track.namespace != asked.namespace or track.user_id != asked.user:
        return FOREIGN
    return OFFSET if after is None else ""


class _Former:
    """The app server that served a socket at another node."""

    def __init__(self, server_id: str) -> None:
        self.id = server_id


class Expected:
    """A socket that comes to this node. It is recorded here from the beginning, and found at the end."""

    def __init__(self, recovery: Recovery[Connection], offered: Offered) -> None:
        self._recovery = recovery
        self._track: SocketTrack = Track(
            offered.pid,
            offered.namespace,
            offered.sid,
            connection_id=offered.connection,
            user_id=offered.user,
        )
        self._track.server = _Former(offered.server)
        self._track.lasts = offered.lasts
        self._track.data = offered.data
        recovery.expect(self._track, offered.groups, offered.events)

    @property
    def groups(self) -> tuple[str, ...]:
        """The groups that are recorded for it."""
        return tuple(self._track.groups)

    def join(self, groups: tuple[str, ...]) -> None:
        """It is in these groups at the other node."""
        for group in set(groups) - self._track.groups - self._track.touched:
            # Not a change: nothing says that it was not in them before.
            self._recovery.away.rooms.join(self._track, group, private=group == self._track.private)

    def take(self, taken: Taken, executed: Mapping[str, int]) -> None:
        """It is here: a client can come back to it. `executed`: how far the commands of each app server were
        at the other node."""
        track = self._track
        for group in set(taken.left) & track.groups - track.touched:
            self._recovery.away.rooms.leave(track, group)
        assert track.carried is not None
        track.carried.fill(taken.segments, executed, taken.seen, whole=taken.whole)
        for entry in track.carried.entries:
            if entry.ack_id is not None:
                track.unacked[entry.ack_id] = entry
        former = self._recovery.find(track.pid)
        if former is not None:
            # The node that has given it away is lost, and did not store that. Here is what it had stored.
            self._recovery.end(former)
        self._recovery.arrived(track)

    def give_up(self) -> None:
        """The socket does not come."""
        self._recovery.abandon(self._track)
