"""From what passed to what is shown."""

from __future__ import annotations

from itertools import islice
from typing import Final

from msgspec.structs import replace

from moorage.hub.trace.describe import MAX_PACKETS, Whole, clean, describe, in_frames, in_payload, shown
from moorage.hub.trace.tap import Entry, Tap
from moorage.hub.trace.watch import Watch
from moorage.wire.socketio import connected_sid, parse_header
from moorage.wire.trace.seen import Packet

_HIDDEN: Final = "connect"
"""The data of a CONNECT is never shown: the client's holds credentials, and the answer the private id with
which a client comes back."""


def show(entry: Entry, offset: float) -> None:
    """Give the packets of an entry to its watches. `offset` is the time since 1970 minus the node's clock."""
    wholes = in_frames(entry.data) if entry.framed else in_payload(entry.data)
    for whole in islice(wholes, MAX_PACKETS):
        _show_one(entry, whole, entry.at + offset)
    missing = sum(1 for _ in wholes)
    for watch in entry.watches:
        watch.dropped += missing


def _show_one(entry: Entry, whole: Whole, time: float) -> None:
    what = describe(whole.packet)
    tap = entry.tap
    if tap is not None and what.type == _HIDDEN and entry.direction == "out":
        _note_sid(tap, whole.packet)
    client = None if tap is None else tap.connection
    packet = Packet(
        time,
        entry.hub,
        "" if client is None else client.id,
        user_of(None if client is None else client.user_id),
        entry.app_server,
        entry.direction,
        what.type,
        what.namespace,
        what.event,
        whole.size,
        whole.attachments,
        what.ack,
        None if tap is None else tap.ack_ms(entry.direction, what, entry.at),
        entry.recipients,
        socket="" if tap is None else tap.sid(what.namespace),
    )
    has_data = 0 < what.body < len(whole.packet)
    full: Packet | None = None
    for watch in entry.watches:
        if _elsewhere(watch, what.namespace):
            continue
        if not watch.scope.payload or not has_data or what.type == _HIDDEN:
            watch.add(packet)
            continue
        if full is None:
            full = replace(packet, payload=shown(whole.packet, what.body))
        watch.add(full)


def _note_sid(tap: Tap, packet: bytes) -> None:
    """Take the id from the answer to a CONNECT: the client may have left before this is described."""
    header = parse_header(packet)
    sid = connected_sid(packet, header)
    if sid is not None:
        tap.sids[header.namespace] = sid


def _elsewhere(watch: Watch, namespace: str) -> bool:
    """True for what a member of a watched room sends outside of the room's namespace."""
    return bool(watch.group) and namespace != watch.scope.namespace


def user_of(user: str | None) -> str | None:
    """A user's id as it can be sent."""
    return None if user is None else clean(user)
