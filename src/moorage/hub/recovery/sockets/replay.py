"""What a client that comes back has missed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

from moorage.engine.peer import SocketPeer
from moorage.hub.journal.scribe import Scribe
from moorage.hub.recovery.sockets.log import DeliveryLog, Entry
from moorage.hub.recovery.sockets.track import Past, Track, matches
from moorage.wire.engineio import RS
from moorage.wire.recovery.offsets import parse_offset
from moorage.wire.socketio import parse_header, with_ack_id

EVERYONE: Final = "\0"
USER: Final = "\0@"
"""Lanes that are no groups. A group's name in a frame or a request cannot begin like this."""


def position_of(log: DeliveryLog, track: Track[Any], offset: str | None) -> int | None:
    """The position from which on a client has missed events; None for an offset that it cannot have."""
    carried = track.carried
    if carried is not None:
        carried.prepare(offset)
    if offset is None:
        return track.since if carried is None or carried.whole else None
    found = parse_offset(offset)
    if found is None:
        return None
    if carried is not None and (found.epoch != log.epoch or found.position < carried.end):
        return carried.position_of(found)
    if found.epoch != log.epoch or found.position > log.position:
        return None
    return max(found.position, track.since)


def can_return(log: DeliveryLog, track: Track[Any], after: int) -> bool:
    """True if all is kept that a parked socket has missed after a position. Very many clients may come back
    at once, so the events are looked at only if there may be too many."""
    lanes = _kept_lanes(log, track, track.past(after), after)
    if lanes is None:
        return False
    settings = log.settings
    events, size = log.held(lanes)
    few = events <= settings.recovery_session_events and size <= settings.recovery_session_bytes
    return (few and track.carried is None) or missed_by(log, track, after) is not None


def missed_by(log: DeliveryLog, track: Track[Any], after: int) -> list[Entry] | None:
    """The events that a parked socket has missed after a position. None if one of them may not be kept."""
    past = track.past(after)
    lanes = _kept_lanes(log, track, past, after)
    if lanes is None:
        return None
    found = _unacked_before(track, after) if track.quiet is not None else []
    if track.carried is not None:
        found += track.carried.after(after, track.unacked)
    for entry in log.since(lanes, after):
        past.advance(entry.position)
        if entry.namespace == track.namespace and _is_for(track, entry, past):
            found.append(entry)
    settings = log.settings
    too_many = len(found) > settings.recovery_session_events
    if too_many or sum([entry.size for entry in found]) > settings.recovery_session_bytes:
        return None
    return found


def again(new_ack_id: Callable[[], int], track: Track[Any], missed: list[Entry]) -> Iterator[bytes]:
    """The packets of missed events. Nobody waits for the acks of those with an ack id any more, so they get
    new ids, which the app does not use."""
    track.unacked.clear()
    for entry in missed:
        if entry.to is None and entry.ack_id is not None:
            first, separator, attachments = entry.payload.partition(RS)
            entry.ack_id = new_ack_id()
            track.unacked[entry.ack_id] = entry
            yield with_ack_id(first, parse_header(first), entry.ack_id) + separator + attachments
        else:
            yield entry.payload


def watch_acks(peer: SocketPeer, track: Track[Any], scribe: Scribe | None) -> None:
    """From now on, acks of the client tell which events it has got."""
    if peer.acknowledged is None:
        peer.acknowledged = {}
    peer.acknowledged[track.namespace] = partial(_acknowledged, track, scribe)


def _acknowledged(track: Track[Any], scribe: Scribe | None, ack_id: int) -> None:
    if track.unacked.pop(ack_id, None) is not None and scribe is not None:
        scribe.acked(track, ack_id)


def start_of(log: DeliveryLog, track: Track[Any]) -> int:
    """A position from which on everything is kept that the socket's client may lack."""
    lanes = _lanes(track, track.past(track.since), track.since)
    return log.start(lanes, track.since, track.confirmed)


def identities(log: DeliveryLog, track: Track[Any], since: float) -> set[tuple[str, int]]:
    """The identities of the emits for a socket from this time on, whether it got them or not."""
    lanes = _lanes(track, track.past(track.since), track.since)
    return {(entry.source, entry.number) for entry in log.later(lanes, since) if entry.source}


def _kept_lanes(log: DeliveryLog, track: Track[Any], past: Past, after: int) -> dict[str, int] | None:
    """As `_lanes`. None if one of their entries may not be kept."""
    if track.dismissed or (track.interrupted and after >= track.interrupted):
        return None
    if after < track.unknown and track.unknown_time > track.confirmed:
        return None
    if track.carried is not None and track.carried.dropped:
        return None
    lanes = _lanes(track, past, after)
    if any([log.is_missing(key, start, track.confirmed) for key, start in lanes.items()]):
        return None
    return lanes


def _lanes(track: Track[Any], past: Past, after: int) -> dict[str, int]:
    """The lanes with what is sent to a socket, and from which position on."""
    lanes = {**past.joined, EVERYONE: after}
    if track.user_id is not None:
        lanes[USER + track.user_id] = after
    return lanes


def _unacked_before(track: Track[Any], after: int) -> list[Entry]:
    """Events whose acks the app still waits for, and that the client has received: the acks may have been
    lost."""
    return [
        entry
        for entry in track.unacked.values()
        if entry.left and entry.position <= after and entry.time >= track.confirmed
    ]


def _is_for(track: Track[Any], entry: Entry, past: Past) -> bool:
    if track.carried is not None and track.carried.has_seen(entry):
        return False
    if entry.ack_id is not None and entry.time < track.confirmed:
        return False
    if entry.to is None:
        return entry.ack_id is None or track.unacked.get(entry.ack_id) is entry
    if entry.to.connection is not None:
        return track.private in past.groups
    return matches(entry.to, past)
