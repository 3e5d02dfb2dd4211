"""The server-sent events of a trace."""

from __future__ import annotations

import json
from typing import Any

from moorage.control.trace import events
from moorage.wire.errors import PeerError
from moorage.wire.reasons import DRAINING
from moorage.wire.trace.messages import Traced
from moorage.wire.trace.seen import Packet, State


def parsed(event: bytes) -> tuple[str, dict[str, Any]]:
    """An event's name and data. It is two lines, whatever the data is."""
    name, data, *rest = event.decode().split("\n")
    assert rest == ["", ""]
    return name.removeprefix("event: "), json.loads(data.removeprefix("data: "))


def test_a_packet() -> None:
    packet = Packet(1.5, "h", "c", "ada", "s", "in", "event", "/", "e\n\r\u2028", 10, 1, 5, 1.23456, 0, "[]")
    assert parsed(events.seen("n", packet)) == (
        "packet",
        {
            "time": 1.5,
            "node": "n",
            "hub": "h",
            "connection": "c",
            "user": "ada",
            "app_server": "s",
            "direction": "in",
            "type": "event",
            "namespace": "/",
            "event": "e\n\r\u2028",
            "size": 10,
            "ack": 5,
            "ack_ms": 1.235,
            "attachments": 1,
            "payload": "[]",
        },
    )


def test_an_emit_to_a_room() -> None:
    packet = Packet(1.5, "h", "", None, "", "out", "event", "", "e", 10, recipients=3)
    data = parsed(events.seen("n", packet))[1]
    assert (data["connection"], data["app_server"], data["namespace"]) == (None, None, None)
    assert data["recipients"] == 3
    assert not {"payload", "attachments"} & data.keys()


def test_states() -> None:
    common = {"time": 1.5, "node": "n", "hub": "h", "connection": "c", "user": None, "app_server": "s"}
    joined = State(1.5, "h", "c", None, "s", "joined", namespace="/", room="r")
    assert parsed(events.seen("n", joined)) == (
        "state",
        {**common, "state": "joined", "namespace": "/", "room": "r"},
    )
    closed = State(1.5, "h", "c", None, "s", "closed", reason="x", number=1, who="app", age=2.0)
    how = {"state": "closed", "reason": "x", "number": 1, "who": "app", "age": 2.0, "queued_bytes": 0}
    assert parsed(events.seen("n", closed)) == ("state", common | how)


def test_the_others() -> None:
    traced = Traced("w", "n", (), 0, 3, True)
    assert parsed(events.watching(traced)) == ("watching", {"node": "n", "connections": 3, "limited": True})
    assert parsed(events.dropped(7)) == ("dropped", {"count": 7})
    name, data = parsed(events.ended(PeerError(DRAINING)))
    assert (name, data["number"], data["name"]) == ("end", 1100, "draining")
