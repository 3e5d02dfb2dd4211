"""Turns the events of a trace into those of the Admin UI."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import orjson

from moorage.wire.trace.messages import Traced
from moorage.wire.trace.seen import Packet, State

LEFT: Final = "namespace disconnect"
"""The reason of a socket that ends before its connection."""


class Event(NamedTuple):
    """An event for the UI."""

    name: str
    arguments: tuple[Any, ...]


class Upgraded(NamedTuple):
    """All sockets of a connection have another transport."""

    connection: str
    transport: str


class New(NamedTuple):
    """A socket that the UI does not know. Its row has to be fetched."""

    connection: str
    namespace: str
    socket: str
    transport: str
    time: str


def changes(traced: Traced) -> Iterator[Event | New | Upgraded]:
    """The events for the UI, in order."""
    ends = {
        seen.connection: seen.reason
        for seen in traced.events
        if isinstance(seen, State) and seen.state == "closed"
    }
    transports = {seen.connection: seen.transport for seen in traced.events if isinstance(seen, State)}
    for seen in traced.events:
        if isinstance(seen, State) and seen.state == "upgraded":
            yield Upgraded(seen.connection, seen.transport)
        if not seen.namespace or not seen.socket:
            continue
        time = moment(seen.time)
        if isinstance(seen, Packet):
            if seen.type == "connect" and seen.direction == "out":
                transport = transports.get(seen.connection, "")
                yield New(seen.connection, seen.namespace, seen.socket, transport, time)
            elif seen.type == "event":
                name = "event_received" if seen.direction == "in" else "event_sent"
                yield Event(name, (seen.namespace, seen.socket, _arguments(seen), time))
        elif seen.room:
            name = "room_joined" if seen.state == "joined" else "room_left"
            yield Event(name, (seen.namespace, seen.room, seen.socket, time))
        elif seen.state == "left":
            reason = ends.get(seen.connection, LEFT)
            yield Event("socket_disconnected", (seen.namespace, seen.socket, reason, time))


def moment(seconds: float) -> str:
    """A time as JavaScript writes it in JSON."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _arguments(packet: Packet) -> list[Any]:
    """The event's name and arguments. Without payloads, or if the payload was cut, the name alone."""
    try:
        found = orjson.loads(packet.payload or "")
    except orjson.JSONDecodeError:
        found = None
    return found if isinstance(found, list) and found else [packet.event or ""]
