"""Which handler takes an event of another app server, and what is answered."""

from __future__ import annotations

from typing import Any

import pytest
import socketio.packet

from moorage.sdk.exchange.server_events import HandlerCall, ServerEvents, returned
from moorage.sdk.payload import Codec
from moorage.wire.moorage.v1 import Reply, Told


@pytest.fixture
def events() -> ServerEvents:
    made = ServerEvents(Codec(socketio.packet.Packet))
    made.add("/", "ask", print)
    made.add("/", "ask", len)
    return made


def told(payload: bytes, ref: int = 3, namespace: str = "/") -> Told:
    return Told(ref, "other", namespace, payload)


def test_the_last_handler_takes_it_with_its_session(events: ServerEvents) -> None:
    frame = told(b'42["ask",1,2]')
    assert events.plan(frame, "session") == HandlerCall(len, [1, 2], frame, "session")


def test_nobody_waits_for_an_app_server_without_handlers_in_the_namespace(events: ServerEvents) -> None:
    assert events.plan(told(b'42/shop,["ask"]', namespace="/shop"), "s") == Reply(3, b"")
    assert events.plan(told(b'42/shop,["ask"]', 0, "/shop"), "s") is None
    assert events.plan(told(b'42["other"]'), "s") is None, "it counts as missing"


@pytest.mark.parametrize("payload", [b"42{}", b"42", b"nonsense", b"42[]"])
def test_events_that_cannot_be_read(events: ServerEvents, payload: bytes) -> None:
    assert events.plan(told(payload), "s") is None


@pytest.mark.parametrize(
    ("result", "payload"), [(None, b"430[]"), (1, b"430[1]"), ((1, 2), b"430[1,2]"), ([1], b"430[[1]]")]
)
def test_answers(events: ServerEvents, result: Any, payload: bytes) -> None:
    assert events.reply(HandlerCall(len, [], told(b""), "s"), result) == Reply(3, payload)


def test_answers_that_are_not_sent(events: ServerEvents, caplog: pytest.LogCaptureFixture) -> None:
    assert events.reply(HandlerCall(len, [], told(b"", 0), "s"), 1) is None
    assert events.reply(HandlerCall(len, [], told(b""), "s"), object()) is None
    assert "args[0]: object is not JSON serialisable" in caplog.text


def test_what_a_handler_returns() -> None:
    assert [returned(None), returned(()), returned((1, 2)), returned([1])] == [[], [], [1, 2], [[1]]]
