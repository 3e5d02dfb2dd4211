"""Server-sent events of a trace (docs/reference/admin-api.md has their fields)."""

from __future__ import annotations

from typing import Any

import orjson

from moorage.wire.errors import PeerError
from moorage.wire.trace.messages import Traced
from moorage.wire.trace.seen import Packet, Seen, State

KEEP_ALIVE = b": \n\n"
"""A comment, which clients ignore. It keeps proxies from closing a quiet stream."""


def event(name: str, data: dict[str, Any]) -> bytes:
    """One event. The JSON has no raw line breaks, so it is one line."""
    return b"event: %b\ndata: %b\n\n" % (name.encode(), orjson.dumps(data))


def watching(traced: Traced) -> bytes:
    """How many connections a node follows."""
    data = {"node": traced.node, "connections": traced.connections, "limited": traced.limited}
    return event("watching", data)


def dropped(count: int) -> bytes:
    """Packets that are missing in the stream."""
    return event("dropped", {"count": count})


def ended(error: PeerError) -> bytes:
    """Why the stream ends. It is the last event."""
    return event("end", {"number": error.reason.number, "name": error.reason.name, "message": error.message})


def seen(node: str, what: Seen) -> bytes:
    """A packet or a change of a client."""
    common: dict[str, Any] = {
        "time": what.time,
        "node": node,
        "hub": what.hub,
        "connection": what.connection or None,
        "user": what.user,
        "app_server": what.app_server or None,
    }
    if isinstance(what, Packet):
        return event("packet", common | _packet(what))
    return event("state", common | _state(what))


def _packet(packet: Packet) -> dict[str, Any]:
    found: dict[str, Any] = {
        "direction": packet.direction,
        "type": packet.type,
        "namespace": packet.namespace or None,
        "event": packet.event,
        "size": packet.size,
        "ack": packet.ack,
        "ack_ms": None if packet.ack_ms is None else round(packet.ack_ms, 3),
    }
    if packet.socket:
        found["socket"] = packet.socket
    if packet.attachments:
        found["attachments"] = packet.attachments
    if not packet.connection:
        found["recipients"] = packet.recipients
    if packet.payload is not None:
        found["payload"] = packet.payload
    return found


def _state(state: State) -> dict[str, Any]:
    found: dict[str, Any] = {"state": state.state}
    given = {
        "namespace": state.namespace,
        "room": state.room,
        "socket": state.socket,
        "transport": state.transport,
        "reason": state.reason,
        "number": state.number,
        "who": state.who,
        "detail": state.detail,
        "claimed": state.claimed,
    }
    found.update({name: value for name, value in given.items() if value})
    if state.age is not None:
        found |= {"age": round(state.age, 3), "queued_bytes": state.queued}
    return found
