"""From a trace to the events of the Admin UI."""

from __future__ import annotations

from typing import Any

from moorage.control.adminui.changes import Event, New, Upgraded, changes, moment
from moorage.wire.trace.messages import Traced
from moorage.wire.trace.seen import Packet, State

AT = 1_700_000_000.5
TIME = "2023-11-14T22:13:20.500Z"


def packet(direction: Any, kind: str, **more: Any) -> Packet:
    return Packet(AT, "h", "c1", None, "s", direction, kind, "/", **{"socket": "s1", **more})


def state(name: str, **more: Any) -> State:
    return State(AT, "h", "c1", None, "s", name, **{"transport": "polling", **more})


def told(*events: Packet | State) -> list[Event | New | Upgraded]:
    return list(changes(Traced("w", "n", events, 0, 1, False)))


def test_a_time() -> None:
    assert moment(AT) == TIME


def test_a_socket_from_begin_to_end() -> None:
    assert told(
        state("opened"),
        state("joined", namespace="/", socket="s1"),
        packet("in", "connect", socket=""),
        packet("out", "connect"),
        state("joined", namespace="/", room="r", socket="s1"),
        state("left", namespace="/", room="r", socket="s1"),
        state("left", namespace="/", socket="s1"),
        state("closed", reason="ping-timeout"),
    ) == [
        New("c1", "/", "s1", "polling", TIME),
        Event("room_joined", ("/", "r", "s1", TIME)),
        Event("room_left", ("/", "r", "s1", TIME)),
        Event("socket_disconnected", ("/", "s1", "ping-timeout", TIME)),
    ]


def test_a_socket_that_leaves_and_a_transport_that_changes() -> None:
    assert told(state("left", namespace="/", socket="s1"), state("upgraded", transport="websocket")) == [
        Event("socket_disconnected", ("/", "s1", "namespace disconnect", TIME)),
        Upgraded("c1", "websocket"),
    ]


def test_events() -> None:
    assert told(
        packet("in", "event", event="e", payload='["e",1]'),
        packet("out", "event", event="e", payload='["e","cut…'),
        packet("out", "event", event=None, payload="{}"),
        packet("in", "ack"),
        packet("in", "event", event="of whom?", socket=""),
    ) == [
        Event("event_received", ("/", "s1", ["e", 1], TIME)),
        Event("event_sent", ("/", "s1", ["e"], TIME)),
        Event("event_sent", ("/", "s1", [""], TIME)),
    ]
